"""Finds the Python on this machine from which the private environment is made."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from reapi_local_launcher.launcher_error import LauncherError
from reapi_local_launcher.patience import run_patiently
from reapi_local_launcher.python.places import candidates
from reapi_local_launcher.server_settings import ServerSettings

# The newest first, but 3.14 last, because fewer packages have wheels for it.
PREFERENCE = ((3, 13), (3, 12), (3, 11), (3, 14))

_RANGE = "CPython {}.{} to {}.{}".format(*min(PREFERENCE), *max(PREFERENCE))
_STILL_S = 10.0
_NOT_PYTHON = "does not answer like a Python 3"
_QUESTION = """
import json, sys, sysconfig
answer = {
    "name": sys.implementation.name,
    "version": list(sys.version_info[:3]),
    "free_threaded": bool(sysconfig.get_config_var("Py_GIL_DISABLED")),
    "base": getattr(sys, "_base_executable", None) or sys.executable,
}
try:
    import ensurepip, venv
except ImportError as error:
    answer["missing"] = str(error.name)
print(json.dumps(answer))
"""


@dataclass(frozen=True)
class BasePython:
    """A CPython that can make an environment: its executable, and its version like (3, 13, 1)."""

    path: Path
    version: tuple[int, ...]


@dataclass
class _Search:
    env: Mapping[str, str]
    found: list[BasePython] = field(default_factory=list)
    seen: set[Path] = field(default_factory=set)
    rejected: list[str] = field(default_factory=list)

    def consider(self, path: Path) -> None:
        real = Path(os.path.realpath(path))
        # All shims of pyenv are links to one script, which runs the program that the link is named
        # after. So both names together identify an interpreter.
        identity = real if real.name == path.name else real.with_name(f"{real.name} {path.name}")
        if identity in self.seen:
            return
        self.seen.add(identity)
        answer = _ask(path, self.env)
        reason = answer if isinstance(answer, str) else _unsuitable(answer)
        if reason is not None:
            self.rejected.append(f"{path} ({reason})")
        elif not isinstance(answer, str):
            self.found.append(BasePython(Path(str(answer["base"])), _version(answer)))


def find_base_python(settings: ServerSettings, env: Mapping[str, str]) -> BasePython:
    """The CPython of this machine that comes first in `PREFERENCE`; `places` says where it looks.

    Raises LauncherError, which lists the interpreters that were looked at.
    """
    search = _Search(env)
    for path in candidates(env, PREFERENCE):
        search.consider(path)
    if search.found:
        return min(search.found, key=_rank)
    looked_at = "; ".join(search.rejected) if search.rejected else "there is no Python"
    raise LauncherError(
        "No Python was found that can run the server.",
        f"It needs {_RANGE}. PATH, the usual directories, pyenv, uv, mise and asdf have none: "
        f"{looked_at}.",
        "Install one (for example `apt install python3.12 python3.12-venv`, `brew install "
        "python@3.13`, `uv python install 3.13` or `pyenv install 3.13`), or name one that has "
        f"reapi-local[server] installed with {settings.labels.server_python}.",
    )


def _rank(python: BasePython) -> tuple[int, tuple[int, ...]]:
    newest_patch_first = tuple(-part for part in python.version)
    return PREFERENCE.index((python.version[0], python.version[1])), newest_patch_first


def _ask(path: Path, env: Mapping[str, str]) -> dict[str, object] | str:
    """What the interpreter says about itself, or a clause that says why it does not answer."""
    clean = {name: value for name, value in env.items() if not name.startswith("PYTHON")}
    try:
        asked = run_patiently([str(path), "-c", _QUESTION], clean, _STILL_S, cwd="/")
    except OSError as error:
        return f"does not run: {error.strerror or error}"
    if asked is None:
        return "does not answer"
    if asked.returncode != 0:
        return f"does not run: status {asked.returncode}"
    try:
        answer = json.loads(asked.stdout)
    except ValueError:
        return _NOT_PYTHON
    return answer if isinstance(answer, dict) else _NOT_PYTHON


def _unsuitable(answer: Mapping[str, object]) -> str | None:
    version = _version(answer)
    shown = ".".join(map(str, version))
    if answer["name"] != "cpython":
        return f"{answer['name']} {shown}"
    if version[:2] not in PREFERENCE:
        return f"version {shown}"
    if answer["free_threaded"]:
        return f"free-threaded {shown}, which grpcio has no wheels for"
    if "missing" in answer:
        return f"{shown} without its {answer['missing']} module"
    return None


def _version(answer: Mapping[str, object]) -> tuple[int, ...]:
    parts = answer["version"]
    return tuple(int(part) for part in parts) if isinstance(parts, list) else ()
