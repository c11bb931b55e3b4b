"""Where users have their Pythons."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path

from reapi_local_launcher.launcher_error import LauncherError
from reapi_local_launcher.paths import user_home

# Systems, Homebrew and MacPorts. A daemon or a supervisor may have a PATH without them.
USUAL = (
    *("/usr/local/bin", "/usr/bin", "/opt/homebrew/bin", "/opt/local/bin"),
    "/home/linuxbrew/.linuxbrew/bin",
)
_VERSION = re.compile(r"(?:cpython-)?(\d+)\.(\d+)(?!\d)[\w.+-]*")


def candidates(env: Mapping[str, str], releases: tuple[tuple[int, int], ...]) -> Iterator[Path]:
    """Programs that may be Pythons of these releases, like (3, 13). Unreadable places have none."""
    versioned = [f"python{major}.{minor}" for major, minor in releases]
    yield from filter(_is_program, _own_base(versioned))
    on_path = [Path(part) for part in env.get("PATH", "").split(os.pathsep) if part[:1] == "/"]
    for name in (*versioned, "python3", "python"):
        for directory in (*on_path, *map(Path, USUAL)):
            if _is_program(directory / name):
                yield directory / name
    for installations in _version_managers(env, on_path):
        for version in _listed(installations):
            found = _VERSION.fullmatch(version.name)
            if found and (int(found.group(1)), int(found.group(2))) in releases:
                yield from filter(_is_program, [version / "bin" / "python"])


def _own_base(versioned: list[str]) -> Iterator[Path]:
    """The Python from which the environment of this process was made, such as that of Pants."""
    base = getattr(sys, "_base_executable", None)
    if base:
        yield Path(base)
    for name in (*versioned, "python3"):
        yield Path(sys.base_prefix, "bin", name)


def _version_managers(env: Mapping[str, str], on_path: list[Path]) -> Iterator[Path]:
    """The directories in which pyenv, uv, mise and asdf keep an installation for each version."""
    home = ""
    with suppress(LauncherError):
        home = user_home(env)
    data_home = env.get("XDG_DATA_HOME") or f"{home}/.local/share"
    pyenv_roots = [env.get("PYENV_ROOT") or "", f"{home}/.pyenv"]
    pyenv_roots += [str(directory.parent) for directory in on_path if directory.name == "shims"]
    found = [
        *(f"{root}/versions" for root in pyenv_roots if root),
        env.get("UV_PYTHON_INSTALL_DIR") or f"{data_home}/uv/python",
        f"{env.get('MISE_DATA_DIR') or f'{data_home}/mise'}/installs/python",
        f"{env.get('ASDF_DATA_DIR') or f'{home}/.asdf'}/installs/python",
    ]
    yield from map(Path, dict.fromkeys(found))


def _listed(directory: Path) -> list[Path]:
    """The entries of a directory, the newest version first in most cases."""
    try:
        return sorted(directory.iterdir(), reverse=True)
    except (OSError, ValueError):
        return []


def _is_program(path: Path) -> bool:
    try:
        return path.is_file() and os.access(path, os.X_OK)
    except (OSError, ValueError):
        return False
