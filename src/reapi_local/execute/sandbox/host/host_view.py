"""What an action sees of the host: planned here as a list of steps, carried out by a sandbox.

Every top-level directory is there at its own path, read-only, except
- /proc, /dev, /tmp, /var/tmp and /run: the action's own (of /run, only what name resolution needs);
- what the server hides, and the places of daemons that act as root: empty;
- a home of the server's user: it is *opened*, which means a directory made anew that holds only
  what may be shown: no secrets, none of the files that only their owner can read.

Directories that another user can't search are opened too where toolchains live, so that actions of
a server run by root find an interpreter below root's closed home.
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
    DAEMONS,
    SECRET_DIRECTORIES,
    SECRET_FILES,
    TOOLCHAINS,
)
from reapi_local.execute.sandbox.host.identity import Identity

BIND: Final = "bind"
"""Show the host's file or directory at its own path, with what is mounted below it."""
DIRECTORY: Final = "directory"
"""An empty directory to hold what later steps put there; hides the host's."""
SYMLINK: Final = "symlink"
"""``detail`` is the target."""
EMPTY: Final = "empty"
"""Hide the host's file or directory behind an empty one."""

OWN_DIRECTORIES: Final = ("/proc", "/dev", "/tmp", "/run", "/reapi")
"""Made by the sandbox itself; the host's aren't shown."""


class Step(NamedTuple):
    """``detail`` of what is shown or hidden: its identity, so that a plan knows it's outdated."""

    kind: str
    path: str
    detail: str


@dataclass(frozen=True)
class HostView:
    """``steps`` in order: what is above comes first. ``watched``: directories whose change may
    make another plan, with the time of their last change."""

    steps: tuple[Step, ...]
    watched: tuple[tuple[str, int], ...]

    def is_current(self) -> bool:
        """Cheap: False = something may have changed, plan again and compare ``steps``."""
        return all(_changed_ns(path) == when for path, when in self.watched)


def homes_of_server() -> tuple[str, ...]:
    """Where the server's user is at home, symbolic links resolved."""
    candidates = [os.environ.get("HOME", "")]
    with contextlib.suppress(KeyError):
        candidates.append(pwd.getpwuid(os.getuid()).pw_dir)
    found = {os.path.realpath(path) for path in candidates if os.path.isabs(path)}
    return tuple(sorted(home for home in found if home != "/" and os.path.isdir(home)))


def plan_host_view(identity: Identity, homes: Iterable[str], hidden: Iterable[str]) -> HostView:
    """Look at the host and decide what actions of that identity see of it."""
    homes = tuple(homes)
    opened = _opened(identity, homes)
    to_watch = {"/", *opened, *_parents_of_secrets(homes), *map(os.path.dirname, _resolvers())}
    # Before anything is listed: what changes meanwhile makes this plan outdated.
    watched = tuple((path, _changed_ns(path)) for path in sorted(to_watch))
    steps = [*_top_level(opened), *_name_resolution()]
    for directory, only in sorted(opened.items()):
        if _is_own(directory):
            continue
        steps.append(Step(DIRECTORY, directory, ""))
        steps.extend(_inside(directory, only, opened, identity, homes))
    to_hide = {*hidden, *DAEMONS, *_secrets(homes), *_run_by_another_name()}
    steps.extend(_covers(to_hide, steps))
    return HostView(tuple(steps), watched)


def _opened(identity: Identity, homes: Iterable[str]) -> dict[str, str]:
    """Directories to make anew, each with the one child to show there, "" = all that may be."""
    opened: dict[str, str] = {}
    for home in homes:
        for parent in _ancestors(home):
            if not identity.may(os.stat(parent), 1):
                opened.setdefault(parent, os.path.relpath(home, parent).partition("/")[0])
        opened[home] = ""
        for directory in {os.path.dirname(secret) for secret in SECRET_FILES} - {""}:
            if _is_directory(path := os.path.join(home, directory)):
                opened[path] = ""
        for directory in TOOLCHAINS:
            path = os.path.join(home, directory)
            if _is_directory(path) and not identity.may(os.lstat(path), 1):
                opened[path] = ""
    return opened


def _top_level(opened: Iterable[str]) -> Iterator[Step]:
    for name in sorted(os.listdir("/")):
        path = "/" + name
        if path not in OWN_DIRECTORIES and path not in opened:
            yield from _show(path)


def _inside(
    directory: str, only: str, opened: Iterable[str], identity: Identity, homes: Iterable[str]
) -> Iterator[Step]:
    for name in [only] if only else _names(directory):
        path = os.path.join(directory, name)
        if path in opened or any(_is_secret(path, home) for home in homes):
            continue
        try:
            status = os.lstat(path)
        except OSError:  # gone since, or of a file system that we may not look at
            continue
        if stat.S_ISREG(status.st_mode) and not status.st_mode & 0o004:
            continue
        if stat.S_ISDIR(status.st_mode) and not identity.may(status, 1):
            continue
        yield from _show(path)


def _show(path: str) -> Iterator[Step]:
    """One entry as it is; nothing for sockets, pipes and devices."""
    try:
        status = os.lstat(path)
        if stat.S_ISLNK(status.st_mode):
            yield Step(SYMLINK, path, os.readlink(path))
        elif stat.S_ISDIR(status.st_mode) or (stat.S_ISREG(status.st_mode) and path.count("/") > 1):
            yield Step(BIND, path, _identity_of(path))
    except OSError:
        return


def _covers(hidden: Iterable[str], steps: Iterable[Step]) -> Iterator[Step]:
    """Hide those that would be seen, which are those whose nearest step shows the host's."""
    kinds = {step.path: step.kind for step in steps}
    for path in sorted({os.path.realpath(path) for path in hidden}):
        nearest = next((above for above in (path, *_ancestors(path)) if above in kinds), "")
        if kinds.get(nearest) == BIND and not _is_own(path) and os.path.exists(path):
            yield Step(EMPTY, path, _identity_of(path))


def _is_secret(path: str, home: str) -> bool:
    if not path.startswith(home + "/"):
        return False
    relative = os.path.relpath(path, home)
    return relative in SECRET_DIRECTORIES or any(
        os.path.dirname(relative) == os.path.dirname(secret) and fnmatchcase(relative, secret)
        for secret in SECRET_FILES
    )


def _secrets(homes: Iterable[str]) -> Iterator[str]:
    """Those that exist. A file among them may be a link into a directory that is shown."""
    for home in homes:
        for secret in (*SECRET_DIRECTORIES, *SECRET_FILES):
            yield from glob(os.path.join(escape(home), secret))


def _parents_of_secrets(homes: Iterable[str]) -> Iterator[str]:
    for home in homes:
        for secret in (*SECRET_DIRECTORIES, *SECRET_FILES, *TOOLCHAINS):
            if os.path.isdir(parent := os.path.dirname(os.path.join(home, secret))):
                yield parent


def _name_resolution() -> Iterator[Step]:
    """/etc/resolv.conf often leads into /run, which isn't shown."""
    for path in _resolvers():
        if path.startswith("/run/"):
            yield Step(DIRECTORY, os.path.dirname(path), "")
            yield Step(BIND, path, _identity_of(path))


def _resolvers() -> list[str]:
    path = os.path.realpath("/etc/resolv.conf")
    return [path] if os.path.isfile(path) else []


def _run_by_another_name() -> list[str]:
    """Where /var/run is a directory rather than a link to /run, it's the place of sockets."""
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


def _identity_of(path: str) -> str:
    status = os.lstat(path)
    kind = "directory" if stat.S_ISDIR(status.st_mode) else "file"
    return f"{kind} {status.st_dev}:{status.st_ino}"


def _changed_ns(path: str) -> int:
    try:
        return os.stat(path).st_mtime_ns
    except OSError:
        return 0
