"""Which Python runs the server: the first of four that can import it."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from reapi_local_launcher import paths
from reapi_local_launcher.errors import LauncherError
from reapi_local_launcher.python import environment
from reapi_local_launcher.settings import Settings
from reapi_local_launcher.source import Source

_PROBE = """
import sys
if sys.implementation.name != "cpython" or sys.version_info < (3, 11):
    version = ".".join(map(str, sys.version_info[:3]))
    sys.exit(f"it is {sys.implementation.name} {version}; the server needs CPython 3.11 or newer")
import reapi_local.compose.server
"""
_SHEBANG = re.compile(
    rb"#!(/[^\s]*python[^\s]*)\s*\n|#!/bin/sh\n'''exec' \"?(/[^\"\n]*?)\"? \"\$0\""
)


@dataclass(frozen=True)
class Interpreter:
    """A Python that can run the server, and why it was chosen."""

    path: str
    origin: str


class NeedsEnvironmentError(Exception):
    """No Python that is there can run the server, and making an environment was not allowed."""


def choose(
    settings: Settings,
    env: Mapping[str, str],
    source_root: Path,
    support_dir: Path,
    progress: Callable[[str], None] | None,
    timeout_s: float = 60.0,
) -> Interpreter:
    """The interpreter for the server whose package is in `source_root`.

    With `progress` a private environment is made if need be, and told about; without it
    NeedsEnvironmentError is raised instead. `timeout_s` bounds the questions put to interpreters,
    not the making of an environment. Raises LauncherError.
    """
    prober = Prober(env, source_root, support_dir, timeout_s)
    if settings.server_python:
        reason = prober.refusal(settings.server_python)
        if reason is None:
            return Interpreter(settings.server_python, "configured")
        raise LauncherError(
            f"The configured Python {settings.server_python} cannot run the server.",
            f"{reason}.",
            f"Install reapi-local[server] into it, or leave {settings.words.server_python} out: "
            "one is then found or made.",
        )
    for path, origin in _present(env, support_dir):
        if prober.refusal(path) is None:
            return Interpreter(path, origin)
    if progress is None:
        raise NeedsEnvironmentError
    made = environment.build(settings, env, support_dir, progress)
    reason = prober.refusal(str(made))
    if reason is None:
        return Interpreter(str(made), "private environment")
    raise LauncherError(
        "The environment made for the server cannot run it.",
        f"{made}: {reason}.",
        f"Remove {made.parent.parent} and try again; if it stays so, please report it.",
    )


def ready(
    settings: Settings,
    env: Mapping[str, str],
    source: Source,
    progress: Callable[[str], None],
) -> tuple[Interpreter, dict[str, str]]:
    """The interpreter for that server package, and the environment to run it in.

    Raises LauncherError, or OSError if the package can't be put into place.
    """
    support_dir = paths.make_support_dir(settings, env)
    root = source.prepare(support_dir)
    return choose(settings, env, root, support_dir, progress), server_environment(env, root)


def server_environment(env: Mapping[str, str], source_root: Path) -> dict[str, str]:
    """The environment of the server and of probes: the user's, with our package and no other's."""
    ours = {name: value for name, value in env.items() if not name.startswith("PYTHON")}
    ours["PYTHONPATH"] = str(source_root)
    return ours


def _present(env: Mapping[str, str], support_dir: Path) -> Iterator[tuple[str, str]]:
    if sys.executable and sys.implementation.name == "cpython" and sys.version_info >= (3, 11):
        yield sys.executable, "running"
    for script in _scripts_on_path(env):
        python = _shebang(script)
        if python is not None:
            yield python, "that of reapi-local on PATH"
    for python_path in environment.existing(support_dir):
        yield str(python_path), "private environment"


def _scripts_on_path(env: Mapping[str, str]) -> Iterator[Path]:
    for directory in env.get("PATH", "").split(os.pathsep):
        script = Path(directory, "reapi-local")
        if script.is_absolute() and script.is_file():
            yield script


def _shebang(script: Path) -> str | None:
    try:
        with script.open("rb") as file:
            match = _SHEBANG.match(file.read(1024))
    except OSError:
        return None
    return os.fsdecode(match.group(1) or match.group(2)) if match else None


class Prober:
    """Asks interpreters whether they can import the server, and remembers each yes in a file.

    A yes holds for the same executable (path, time, size) and the same requirements. The file is
    only a help: it may be lost, or not be writable.
    """

    def __init__(
        self, env: Mapping[str, str], source_root: Path, support_dir: Path, timeout_s: float
    ) -> None:
        self._env = server_environment(env, source_root)
        self._memo = support_dir / "interpreters.json"
        self._requirements = environment.requirements_key()
        self._deadline = time.monotonic() + timeout_s

    def refusal(self, python: str) -> str | None:
        """None if `python` can run the server, else why not, in a few words."""
        try:
            stat = Path(python).stat()
        except OSError as error:
            return f"{error.strerror or error}"
        identity = f"{stat.st_mtime_ns} {stat.st_size} {self._requirements}"
        memo = self._read_memo()
        if memo.get(python) == identity:
            return None
        reason = self._ask(python)
        if reason is None:
            self._write_memo({**memo, python: identity})
        return reason

    def _ask(self, python: str) -> str | None:
        timeout_s = self._deadline - time.monotonic()
        if timeout_s <= 0:
            return "there was no time left to ask it"
        try:
            answer = subprocess.run(
                [python, "-c", _PROBE],
                env=self._env,
                cwd="/",
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                timeout=timeout_s,
                check=False,
            )
        except subprocess.TimeoutExpired:
            return "it did not answer in time"
        except OSError as error:
            return f"it does not run: {error.strerror or error}"
        if answer.returncode == 0:
            return None
        lines = answer.stderr.decode(errors="replace").strip().splitlines()
        return lines[-1] if lines else f"it ended with status {answer.returncode}"

    def _read_memo(self) -> dict[str, str]:
        try:
            content = json.loads(self._memo.read_bytes())
        except (OSError, ValueError):
            return {}
        return content if isinstance(content, dict) else {}

    def _write_memo(self, memo: dict[str, str]) -> None:
        try:
            fd, name = tempfile.mkstemp(prefix=".interpreters-", dir=self._memo.parent)
            with os.fdopen(fd, "w") as file:
                json.dump(memo, file, indent=2)
            Path(name).replace(self._memo)
        except OSError:
            pass


def forget(support_dir: Path) -> None:
    """Ask interpreters again next time: one that was fine could not start the server."""
    with suppress(OSError):
        (support_dir / "interpreters.json").unlink()
