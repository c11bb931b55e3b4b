"""`uv` installs the packages faster than pip, if it is on PATH.

It reads none of pip's settings. Those in the environment have equals of uv; where pip's
configuration file names an index, pip is used.
"""

from __future__ import annotations

import configparser
import os
import shutil
import sys
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path

from reapi_local_launcher.launcher_error import LauncherError
from reapi_local_launcher.paths import user_home

_EQUALS = {
    "PIP_INDEX_URL": "UV_DEFAULT_INDEX",
    "PIP_EXTRA_INDEX_URL": "UV_INDEX",
    "PIP_FIND_LINKS": "UV_FIND_LINKS",
    "PIP_NO_INDEX": "UV_NO_INDEX",
    "PIP_TRUSTED_HOST": "UV_INSECURE_HOST",
    "PIP_PROXY": "ALL_PROXY",
    "PIP_CERT": "SSL_CERT_FILE",
}
_INDEX_KEYS = ("index_url", "extra_index_url", "find_links", "no_index", "proxy", "trusted_host")
_UV_INDEXES = ("UV_DEFAULT_INDEX", "UV_INDEX", "UV_INDEX_URL", "UV_CONFIG_FILE")
_REDIRECTING = ("UV_SYSTEM_PYTHON", "UV_PYTHON", "UV_TARGET", "UV_PREFIX", "VIRTUAL_ENV")


def find_uv(env: Mapping[str, str]) -> str | None:
    """The program, if it is on PATH and reaches the index that pip would use."""
    uv = shutil.which("uv", path=env.get("PATH", ""))
    if uv is None or any(env.get(name) for name in _UV_INDEXES):
        return uv
    return None if any(map(_names_an_index, _pip_configurations(env))) else uv


def install_command(uv: str, venv: Path, requirements: Path) -> list[str]:
    """Installs hashed wheels into an environment, which needs no pip."""
    return [
        *(uv, "pip", "install", "--python", str(venv / "bin" / "python")),
        *("--compile-bytecode", "--color", "never"),
        *("--require-hashes", "--only-binary", ":all:", "-r", str(requirements)),
    ]


def uv_environment(env: Mapping[str, str]) -> dict[str, str]:
    """The user's environment, with uv's equals of the settings for pip."""
    changed = {name: value for name, value in env.items() if name not in _REDIRECTING}
    for pip, uv in _EQUALS.items():
        if env.get(pip):
            # uv separates paths by commas, and everything else by spaces, as pip does.
            value = ",".join(env[pip].split()) if uv == "UV_FIND_LINKS" else env[pip]
            changed.setdefault(uv, value)
    return {**changed, "UV_PYTHON_DOWNLOADS": "never"}


def _names_an_index(configuration: Path) -> bool:
    parser = configparser.ConfigParser(interpolation=None, strict=False)
    try:
        parser.read_string(configuration.read_text())
    except (OSError, ValueError, configparser.Error):
        return False
    keys = {key.replace("-", "_") for name in parser.sections() for key in parser.options(name)}
    return not keys.isdisjoint(_INDEX_KEYS)


def _pip_configurations(env: Mapping[str, str]) -> Iterator[Path]:
    """Source: pip's documentation, "Configuration: Location"."""
    named = env.get("PIP_CONFIG_FILE", "")
    if named:
        yield Path(named)
    if named == os.devnull:
        return
    for directory in (env.get("XDG_CONFIG_DIRS") or "/etc/xdg").split(os.pathsep):
        yield Path(directory, "pip", "pip.conf")
    yield Path("/etc/pip.conf")
    with suppress(LauncherError):
        home = user_home(env)
        yield Path(home, ".pip", "pip.conf")
        yield Path(env.get("XDG_CONFIG_HOME") or f"{home}/.config", "pip", "pip.conf")
        if sys.platform == "darwin":
            yield Path(home, "Library", "Application Support", "pip", "pip.conf")
