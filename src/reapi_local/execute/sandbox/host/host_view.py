"""Plans what an action sees of the host, as a list of steps that a sandbox carries out.

An action sees every top-level directory at its own path, read-only, except for these:
- /proc, /dev, /tmp, /var/tmp and /run are the action's own. Its /run has only what name resolution
  needs.
- What the server hides, and directories with sockets of daemons that run as root, are empty.
- A home directory of the server's user is *rebuilt*: an empty directory, in which single entries
  of the host's directory are shown. Secrets and files that only their owner can read are left out.

Toolchain directories that the actions' user can't search are rebuilt, too. So actions of root's
server find an interpreter below root's closed home.
"""

from __future__ import annotations

import contextlib
import os
import pwd
import stat
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from fnmatch import fnmatchcase
from glob import escape, glob
from typing import Final, NamedTuple

from reapi_local.execute.sandbox.host.hidden_paths import (
    DAEMON_DIRECTORIES,
    SECRET_DIRECTORIES,
    SECRET_FILES,
    TOOLCHAIN_DIRECTORIES,
)
from reapi_local.execute.sandbox.host.identity import Identity

BIND: Final = "bind"
"""Show the host's file or directory at its own path, with all mounts below it."""
DIRECTORY: Final = "directory"
"""Replace the host's directory with an empty one, in which later steps show entries."""
SYMLINK: Final = "symlink"
"""``detail`` is the target."""
EMPTY: Final = "empty"
"""Mount an empty file or directory over the host's."""

OWN_DIRECTORIES: Final = ("/proc", "/dev", "/tmp", "/run", "/reapi")
"""Created by the sandbox itself; those of the host aren't shown."""


class Step(NamedTuple):
    """``detail``: the target of a symlink; for BIND and EMPTY the type and inode of the path.

    So two plans differ if another file or directory has taken the place of an old one.
    """

    kind: str
    path: str
    detail: str


@dataclass(frozen=True)
class HostView:
    """``steps``: in order, parents before their children.

    ``watched``: directories and their modification times; a change may lead to another plan.
    """

    steps: tuple[Step, ...]
    watched: tuple[tuple[str, int], ...]

    def is_current(self) -> bool:
        """False: something may have changed, so plan again and compare ``steps``. Fast."""
        return all(_mtime_ns(path) == mtime_ns for path, mtime_ns in self.watched)


def homes_of_server() -> tuple[str, ...]:
    """The home directories of the server's user, from $HOME and passwd, symlinks resolved."""
    candidates = [os.environ.get("HOME", "")]
    with contextlib.suppress(KeyError):
        candidates.append(pwd.getpwuid(os.getuid()).pw_dir)
    found = {os.path.realpath(path) for path in candidates if os.path.isabs(path)}
    return tuple(sorted(home for home in found if home != "/" and os.path.isdir(home)))


def plan_host_view(identity: Identity, homes: Iterable[str], hidden: Iterable[str]) -> HostView:
    """Read the host's directories and plan what actions of this identity see.

    ``homes``: home directories to rebuild. ``hidden``: further paths to hide.
    """
    homes = tuple(homes)
    rebuilt = _rebuilt_directories(identity, homes)
    to_watch = {"/", *rebuilt, *_parents_of_secrets(homes), *map(os.path.dirname, _resolvers())}
    # Before any directory is listed, so that a change from now on makes this plan outdated.
    watched = tuple((path, _mtime_ns(path)) for path in sorted(to_watch))
    steps = [*_top_level_steps(rebuilt), *_name_resolution_steps()]
    for directory, only_child in sorted(rebuilt.items()):
        if _is_own(directory):
            continue
        steps.append(Step(DIRECTORY, directory, ""))
        steps.extend(_steps_inside(directory, only_child, rebuilt, identity, homes))
    to_hide = {*hidden, *DAEMON_DIRECTORIES, *_secrets(homes), *_var_run()}
    steps.extend(_hiding_steps(to_hide, steps))
    return HostView(tuple(steps), watched)


def _rebuilt_directories(identity: Identity, homes: Iterable[str]) -> dict[str, str]:
    """Directories to rebuild, each with the only child to show in it; "" shows all that may be."""
    rebuilt: dict[str, str] = {}
    for home in homes:
        for parent in _ancestors(home):
            if not identity.may(os.stat(parent), 1):
                rebuilt.setdefault(parent, os.path.relpath(home, parent).partition("/")[0])
        rebuilt[home] = ""
        for directory in {os.path.dirname(secret) for secret in SECRET_FILES} - {""}:
            if _is_directory(path := os.path.join(home, directory)):
                rebuilt[path] = ""
        for directory in TOOLCHAIN_DIRECTORIES:
            path = os.path.join(home, directory)
            if _is_directory(path) and not identity.may(os.lstat(path), 1):
                rebuilt[path] = ""
    return rebuilt


def _top_level_steps(rebuilt: Iterable[str]) -> Iterator[Step]:
    for name in sorted(os.listdir("/")):
        path = "/" + name
        if path not in OWN_DIRECTORIES and path not in rebuilt:
            yield from _show(path)


def _steps_inside(
    directory: str,
    only_child: str,
    rebuilt: Iterable[str],
    identity: Identity,
    homes: Iterable[str],
) -> Iterator[Step]:
    for name in [only_child] if only_child else _names(directory):
        path = os.path.join(directory, name)
        if path in rebuilt or any(_is_secret(path, home) for home in homes):
            continue
        try:
            status = os.lstat(path)
        except OSError:  # deleted meanwhile, or on a file system that this user may not read
            continue
        if stat.S_ISREG(status.st_mode) and not status.st_mode & 0o004:
            continue
        if stat.S_ISDIR(status.st_mode) and not identity.may(status, 1):
            continue
        yield from _show(path)


def _show(path: str) -> Iterator[Step]:
    """The step that shows one entry; none for sockets, FIFOs, devices and files right in /."""
    try:
        status = os.lstat(path)
        if stat.S_ISLNK(status.st_mode):
            yield Step(SYMLINK, path, os.readlink(path))
        elif stat.S_ISDIR(status.st_mode) or (stat.S_ISREG(status.st_mode) and path.count("/") > 1):
            yield Step(BIND, path, _type_and_inode(path))
    except OSError:
        return


def _hiding_steps(hidden: Iterable[str], steps: Iterable[Step]) -> Iterator[Step]:
    """Steps that hide those paths that ``steps`` show: the nearest step at or above is a BIND."""
    kinds = {step.path: step.kind for step in steps}
    for path in sorted({os.path.realpath(path) for path in hidden}):
        nearest = next((above for above in (path, *_ancestors(path)) if above in kinds), "")
        if kinds.get(nearest) == BIND and not _is_own(path) and os.path.exists(path):
            yield Step(EMPTY, path, _type_and_inode(path))


def _is_secret(path: str, home: str) -> bool:
    if not path.startswith(home + "/"):
        return False
    relative = os.path.relpath(path, home)
    return relative in SECRET_DIRECTORIES or any(
        os.path.dirname(relative) == os.path.dirname(secret) and fnmatchcase(relative, secret)
        for secret in SECRET_FILES
    )


def _secrets(homes: Iterable[str]) -> Iterator[str]:
    """Secret paths that exist. Such a path may be a symlink to a file in a visible directory."""
    for home in homes:
        for secret in (*SECRET_DIRECTORIES, *SECRET_FILES):
            yield from glob(os.path.join(escape(home), secret))


def _parents_of_secrets(homes: Iterable[str]) -> Iterator[str]:
    for home in homes:
        for secret in (*SECRET_DIRECTORIES, *SECRET_FILES, *TOOLCHAIN_DIRECTORIES):
            if os.path.isdir(parent := os.path.dirname(os.path.join(home, secret))):
                yield parent


def _name_resolution_steps() -> Iterator[Step]:
    """/etc/resolv.conf is often a symlink to a file below /run, which isn't shown as a whole."""
    for path in _resolvers():
        if path.startswith("/run/"):
            yield Step(DIRECTORY, os.path.dirname(path), "")
            yield Step(BIND, path, _type_and_inode(path))


def _resolvers() -> list[str]:
    path = os.path.realpath("/etc/resolv.conf")
    return [path] if os.path.isfile(path) else []


def _var_run() -> list[str]:
    """/var/run, if it is a directory of its own: then daemons have their sockets there."""
    return [] if os.path.islink("/var/run") else ["/var/run"]


def _ancestors(path: str) -> Iterator[str]:
    while (path := os.path.dirname(path)) != "/":
        yield path


def _names(directory: str) -> list[str]:
    try:
        return sorted(os.listdir(directory))
    except OSError:
        return []


def _is_own(path: str) -> bool:
    return any(path == own or path.startswith(own + "/") for own in (*OWN_DIRECTORIES, "/var/tmp"))


def _is_directory(path: str) -> bool:
    return os.path.isdir(path) and not os.path.islink(path)


def _type_and_inode(path: str) -> str:
    status = os.lstat(path)
    kind = "directory" if stat.S_ISDIR(status.st_mode) else "file"
    return f"{kind} {status.st_dev}:{status.st_ino}"


def _mtime_ns(path: str) -> int:
    try:
        return os.stat(path).st_mtime_ns
    except OSError:
        return 0
