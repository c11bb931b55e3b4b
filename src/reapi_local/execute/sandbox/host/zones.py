"""The zones: parts of the host in which actions see only what is named.

A zone is a home, or a directory for temporary files and for sockets of daemons. What lies in it is
absent for actions, whatever its mode. ``toolchains`` and ``places`` name what is shown.
"""

from __future__ import annotations

import contextlib
import os
import pwd
from collections.abc import Iterable, Iterator
from glob import glob
from typing import Final

TEMPORARY: Final = ("/tmp", "/var/tmp")
"""Here an action has private directories, in which what is shown has its place."""

DAEMON_DIRECTORIES: Final = (
    "/mnt/wsl",
    "/var/lib/docker",
    "/var/lib/incus",
    "/var/lib/libvirt",
    "/var/lib/lxd",
    "/var/snap/docker",
    "/var/snap/lxd",
)
"""Where daemons that run as root have their sockets. Nothing in them can be shown."""

USERS_FILE: Final = "/etc/passwd"

_ALWAYS: Final = ("/home", "/root", "/Users", "/run", *TEMPORARY)
_USERS_OF_WINDOWS: Final = "/mnt/*/Users"
_PARENTS_OF_HOMES: Final = ("/home", "/Users")
_NO_HOMES: Final = frozenset(
    {
        *("/", "/bin", "/boot", "/dev", "/etc", "/lib", "/lib32", "/lib64", "/libx32", "/media"),
        *("/mnt", "/nix", "/opt", "/proc", "/reapi", "/sbin", "/srv", "/sys", "/usr", "/usr/bin"),
        *("/usr/games", "/usr/lib", "/usr/local", "/usr/sbin", "/usr/share", "/var", "/var/lib"),
    }
)
"""Directories of the system, which passwd gives to some daemons as their home."""

_FIRST_UID_OF_PEOPLE: Final = 1000
_NOBODY: Final = 65534
_NO_LOGIN: Final = ("nologin", "false", "sync", "halt", "shutdown")


class Zones:
    """The zones of this machine at one moment, symlinks resolved.

    ``outermost``: zones that are in no other zone; those that exist. ``homes``: the homes of the
    server's user.
    """

    def __init__(self, homes: Iterable[str]) -> None:
        self.homes = tuple(homes)
        users_of_windows = glob(_USERS_OF_WINDOWS)
        fixed = {os.path.realpath(path) for path in (*_ALWAYS, *users_of_windows)}
        people = {home for home in _homes_of_people() if not _is_in(home, fixed)}
        every = {path for path in {*fixed, *people, *self.homes} if os.path.isdir(path)}
        self.outermost = tuple(sorted(path for path in every if not _is_in(path, every - {path})))
        self._closed = {*every, *fixed}
        self._parents = {os.path.realpath(path) for path in (*_PARENTS_OF_HOMES, *users_of_windows)}

    def zone_of(self, path: str) -> str:
        """The outermost zone that a path without symlinks is in, or is; "" if it is in none."""
        return next((zone for zone in self.outermost if is_at_or_below(path, zone)), "")

    def why_closed(self, path: str) -> str:
        """Why a directory can't be shown as a whole, as the rest of a sentence about it; else "".

        That is if it is a zone or a home, or if it contains one. A directory of which a home alone
        is left out would show what the next user adds.
        """
        real = os.path.realpath(path)
        if os.path.dirname(real) in self._parents or real in self.homes:
            return "is a home"
        for closed in sorted(self._closed):
            if real == closed:
                return "is a directory for homes, temporary files or sockets"
            if is_at_or_below(closed, real):
                return f"contains {closed}"
        daemons = next((path for path in DAEMON_DIRECTORIES if is_at_or_below(real, path)), "")
        return f"is in {daemons}, where daemons of root have their sockets" if daemons else ""


def homes_of_server() -> tuple[str, ...]:
    """The home directories of the server's user, from $HOME and passwd, symlinks resolved."""
    candidates = [os.environ.get("HOME", "")]
    with contextlib.suppress(KeyError):
        candidates.append(pwd.getpwuid(os.getuid()).pw_dir)
    found = {os.path.realpath(path) for path in candidates if os.path.isabs(path)}
    return tuple(sorted(home for home in found - _NO_HOMES if os.path.isdir(home)))


def is_at_or_below(path: str, directory: str) -> bool:
    """Whether a normalized path is a directory's path, or that of something in it."""
    return path == directory or path.startswith(directory.rstrip("/") + "/")


def _homes_of_people() -> Iterator[str]:
    """The homes of accounts with which somebody can log in, and of all numbered as people's."""
    for account in pwd.getpwall():
        is_person = _FIRST_UID_OF_PEOPLE <= account.pw_uid != _NOBODY
        may_log_in = os.path.basename(account.pw_shell) not in _NO_LOGIN
        if (is_person or may_log_in) and os.path.isabs(account.pw_dir):
            home = os.path.normpath(account.pw_dir)
            # Looking at a home of another zone could mount it from another machine.
            real = home if _is_in(home, _ALWAYS) else os.path.realpath(home)
            if real not in _NO_HOMES:
                yield real


def _is_in(path: str, directories: Iterable[str]) -> bool:
    return any(is_at_or_below(path, directory) for directory in directories)
