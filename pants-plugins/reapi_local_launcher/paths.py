"""The paths of directories, according to the environment that the caller passes.

This module never reads `os.environ`: a daemon has the environment of an older command.
"""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Mapping
from pathlib import Path

from reapi_contract.ownership import belongs_to_us, distrust
from reapi_contract.setting_names import DATA_DIR, variable
from reapi_local_launcher.disk_errors import reason, remedy
from reapi_local_launcher.launcher_error import LauncherError
from reapi_local_launcher.server_settings import ServerSettings

APP = "reapi-local"


def user_home(env: Mapping[str, str]) -> str:
    """The user's home directory: $HOME if it is absolute, else that of the password database.

    Raises LauncherError if neither gives one.
    """
    home = env.get("HOME", "")
    if not Path(home).is_absolute():
        import pwd

        try:
            home = pwd.getpwuid(os.getuid()).pw_dir
        except KeyError:
            raise LauncherError(
                "No home directory was found.",
                f"HOME is not set, and user {os.getuid()} is not in the password database.",
                "Set HOME or XDG_CACHE_HOME to an absolute path.",
            ) from None
    return home.rstrip("/")


def cache_home(env: Mapping[str, str], platform: str = sys.platform) -> Path:
    """The directory of all files of reapi-local: the same as `user_cache_path` of platformdirs.

    Source: XDG Base Directory Specification (a relative $XDG_CACHE_HOME is ignored).
    """
    xdg = env.get("XDG_CACHE_HOME", "")
    if Path(xdg).is_absolute():
        return Path(xdg, APP)
    caches = "Library/Caches" if platform == "darwin" else ".cache"
    return Path(f"{user_home(env)}/{caches}", APP)


def data_dir(settings: ServerSettings, env: Mapping[str, str]) -> Path:
    """The path of the data directory, with symlinks resolved.

    The settings name it, else $REAPI_LOCAL_DATA_DIR, else it is `data` in the cache home. Raises
    LauncherError if others could have written what is in it: then nothing there can be trusted.
    """
    path = _named_data_dir(settings, env)
    if wrong := distrust(path):
        remedy = wrong.remedy(settings.labels.data_dir)
        raise LauncherError(
            f"The data directory {path} cannot be used.",
            f"{wrong}.",
            f"{remedy[:1].upper()}{remedy[1:]}.",
        )
    return path


def _named_data_dir(settings: ServerSettings, env: Mapping[str, str]) -> Path:
    chosen = settings.data_dir or env.get(variable(DATA_DIR))
    if not chosen:
        return (cache_home(env) / "data").resolve()
    if chosen == "~" or chosen.startswith("~/"):
        chosen = user_home(env) + chosen[1:]
    return Path(chosen).resolve()


def make_data_dir(settings: ServerSettings, env: Mapping[str, str]) -> Path:
    """Make the data directory with mode 0700, and check that this user can write in it.

    Raises LauncherError, which names the setting that chooses another directory.
    """
    path = data_dir(settings, env)
    try:
        _make_writable(path)
    except OSError as error:
        raise LauncherError(
            f"The data directory {path} cannot be used.",
            f"{reason(error)}.",
            remedy(error, settings.labels),
        ) from error
    return path


def make_support_dir(settings: ServerSettings, env: Mapping[str, str]) -> Path:
    """Make the directory for private environments and unpacked sources.

    This is the cache home, which all data directories share, or the data directory if the cache
    home cannot be written, as in some containers, or others could put their code there. Raises
    LauncherError if neither can be used.
    """
    home = cache_home(env)
    try:
        _make_writable(home)
        _make_ours(home)
    except OSError:
        return make_data_dir(settings, env)
    return home


def _make_writable(path: Path) -> None:
    path.mkdir(mode=0o700, parents=True, exist_ok=True)
    if not os.access(path, os.W_OK | os.X_OK):
        raise PermissionError(errno.EACCES, "no permission to write there", str(path))


def _make_ours(path: Path) -> None:
    """Let no other user put code in a directory; with some umasks, a new one is open to a group."""
    if not belongs_to_us(path):
        raise PermissionError(errno.EPERM, "others may have written there", str(path))
    path.chmod(path.stat().st_mode & ~0o022 & 0o7777)
