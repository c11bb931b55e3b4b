"""Where things are, worked out from an environment that is passed in.

`os.environ` is never read: the caller may live in a daemon whose own environment is stale.
"""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Mapping
from pathlib import Path

from reapi_local_launcher.errors import LauncherError
from reapi_local_launcher.settings import Settings

APP = "reapi-local"


def user_home(env: Mapping[str, str]) -> str:
    """The user's home directory: $HOME if absolute, else the password database's.

    Raises LauncherError when neither knows one.
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
    """The directory of everything reapi-local keeps: what platformdirs' `user_cache_path` gives.

    Source: XDG Base Directory Specification (a relative $XDG_CACHE_HOME is ignored).
    """
    xdg = env.get("XDG_CACHE_HOME", "")
    if Path(xdg).is_absolute():
        return Path(xdg, APP)
    caches = "Library/Caches" if platform == "darwin" else ".cache"
    return Path(f"{user_home(env)}/{caches}", APP)


def data_dir(settings: Settings, env: Mapping[str, str]) -> Path:
    """The data directory, without symlinks.

    That of the settings, else of $REAPI_LOCAL_DATA_DIR, else `data` in the cache home.
    """
    chosen = settings.data_dir or env.get("REAPI_LOCAL_DATA_DIR")
    if not chosen:
        return (cache_home(env) / "data").resolve()
    if chosen == "~" or chosen.startswith("~/"):
        chosen = user_home(env) + chosen[1:]
    return Path(chosen).resolve()


def make_data_dir(settings: Settings, env: Mapping[str, str]) -> Path:
    """Make the data directory, mode 0700, and make sure that files can be made in it.

    Raises LauncherError naming the setting that moves it elsewhere.
    """
    path = data_dir(settings, env)
    try:
        _make_writable(path)
    except OSError as error:
        raise LauncherError(
            f"The data directory {path} cannot be used.",
            f"{_reason(error)}.",
            f"Choose a directory you can write to with {settings.words.data_dir}.",
        ) from error
    return path


def make_support_dir(settings: Settings, env: Mapping[str, str]) -> Path:
    """Make the directory of private environments and unpacked sources.

    That is the cache home, which all data directories share. Where it cannot be written, as in some
    containers, the data directory does instead. Raises LauncherError when neither can be used.
    """
    home = cache_home(env)
    try:
        _make_writable(home)
    except OSError:
        return make_data_dir(settings, env)
    return home


def _make_writable(path: Path) -> None:
    path.mkdir(mode=0o700, parents=True, exist_ok=True)
    if not os.access(path, os.W_OK | os.X_OK):
        raise PermissionError(errno.EACCES, "no right to write there", str(path))


def _reason(error: OSError) -> str:
    where = f": {error.filename}" if error.filename else ""
    return f"{error.strerror or error}{where}"
