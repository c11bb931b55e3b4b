"""Plans what an action sees of the host, as a list of steps that a sandbox carries out.

An action sees every top-level directory at its own path, read-only, except for these:
- /proc, /dev, /tmp, /var/tmp and /run are the action's own. Its /run has only what name resolution
  needs.
- What the server hides, and directories with sockets of daemons that run as root, are empty.
- A zone, such as a home, has nothing but what ``Visible`` names: toolchains, repositories, and
  what a setting adds. What is private in these is left out, too.

What is shown is a real path. The symlinks that lead to it are shown as symlinks. So a symlink whose
target isn't shown dangles.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

from reapi_local.execute.sandbox.host.identity import Identity
from reapi_local.execute.sandbox.host.symlinks import symlinks_on
from reapi_local.execute.sandbox.host.zones import (
    DAEMON_DIRECTORIES,
    TEMPORARY,
    USERS_FILE,
    Zones,
    is_at_or_below,
)

BIND: Final = "bind"
"""Show the host's file or directory at its own path, with all mounts below it."""
DIRECTORY: Final = "directory"
"""Replace the host's directory with an empty one, in which later steps show entries."""
PARENT: Final = "parent"
"""Make a directory for the entries of later steps."""
SYMLINK: Final = "symlink"
"""``detail`` is the target."""
EMPTY: Final = "empty"
"""Mount an empty file or directory over the host's."""

OWN_DIRECTORIES: Final = ("/proc", "/dev", "/tmp", "/run", "/reapi")
"""Created by the sandbox itself; those of the host aren't shown."""

_ALL_OWN: Final = (*OWN_DIRECTORIES, *TEMPORARY)


def is_temporary(path: str) -> bool:
    """Whether a path is in one of an action's own directories for temporary files."""
    return any(is_at_or_below(path, directory) for directory in TEMPORARY)


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

    ``watched``: directories and their modification times. ``pinned``: what else is shown in zones,
    with type and inode. A change of one of them may lead to another plan.
    """

    steps: tuple[Step, ...] = ()
    watched: tuple[tuple[str, int], ...] = ()
    pinned: tuple[tuple[str, str], ...] = ()

    def is_current(self) -> bool:
        """False: something may have changed, so plan again and compare ``steps``. Fast."""
        return all(_mtime_ns(path) == mtime_ns for path, mtime_ns in self.watched) and all(
            _type_and_inode(path) == detail for path, detail in self.pinned
        )

    def shows(self, path: str) -> bool:
        """Whether a path without symlinks is that of a file or directory of the host."""
        kinds = {step.path: step.kind for step in self.steps}
        return _kind_at(path, kinds) == BIND


@dataclass(frozen=True)
class Visible:
    """What is shown in zones, and what is never shown.

    ``paths``: files and directories that exist, as they are called. ``private``: what is in them
    and isn't shown. ``watched``: directories in which another path to show may appear. ``hidden``:
    further paths that are hidden, wherever they are.
    """

    paths: Sequence[str] = ()
    private: Sequence[str] = ()
    watched: Sequence[str] = ()
    hidden: Sequence[str] = ()


def plan_host_view(identity: Identity, zones: Zones, visible: Visible) -> HostView:
    """Read the host's directories and plan what actions of this identity see."""
    to_watch = {
        *("/", USERS_FILE, *visible.watched),
        *map(os.path.dirname, (*_resolvers(), *visible.private)),
    }
    # Before any directory is listed, so that a change from now on makes this plan outdated.
    watched = tuple((path, _mtime_ns(path)) for path in sorted(to_watch) if path not in TEMPORARY)
    steps = [*_top_level_steps(zones), *_zone_steps(zones)]
    shown = [*_shown_in_zones(identity, zones, visible.paths)]
    steps += [*_with_parents(shown, zones), *_name_resolution_steps()]
    to_hide = {*visible.hidden, *visible.private, *DAEMON_DIRECTORIES, *_var_run()}
    steps.extend(_hiding_steps(to_hide, steps))
    pinned = tuple(
        (step.path, step.detail)
        for step in shown
        if step.kind == BIND and step.path not in to_watch
    )
    return HostView(tuple(steps), watched, pinned)


def _top_level_steps(zones: Zones) -> Iterator[Step]:
    for name in sorted(os.listdir("/")):
        path = "/" + name
        if path not in OWN_DIRECTORIES and path not in zones.outermost:
            yield from _show(path)


def _zone_steps(zones: Zones) -> Iterator[Step]:
    for zone in zones.outermost:
        if not any(is_at_or_below(zone, own) for own in _ALL_OWN):
            yield Step(DIRECTORY, zone, "")


def _shown_in_zones(identity: Identity, zones: Zones, paths: Iterable[str]) -> Iterator[Step]:
    """The steps for these paths and for the symlinks on them, sorted by path."""
    steps: dict[str, Step] = {}
    for path in paths:
        for link in symlinks_on(path):
            if zones.zone_of(link):
                steps.update((step.path, step) for step in _show(link))
        real = os.path.realpath(path)
        if zones.zone_of(real):
            steps.update((step.path, step) for step in _show_tree(real, identity))
    above = ""
    for path in sorted(steps, key=lambda path: path.split("/")):
        if not above or not is_at_or_below(path, above):
            yield steps[path]
            above = path if steps[path].kind == BIND else above


def _show_tree(path: str, identity: Identity) -> Iterator[Step]:
    """The steps that show a file or directory; what is in it, if the directory is closed.

    So actions of root's server find an interpreter in a closed directory.
    """
    try:
        status = os.stat(path)
        if not stat.S_ISDIR(status.st_mode) or identity.may(status, 1):
            yield from _show(path)
            return
        names = sorted(os.listdir(path))
    except OSError:
        return
    yield Step(PARENT, path, "")
    for name in names:
        entry = os.path.join(path, name)
        try:
            status = os.lstat(entry)
        except OSError:  # deleted meanwhile, or on a file system that this user may not read
            continue
        needed = 1 if stat.S_ISDIR(status.st_mode) else 4
        if stat.S_ISLNK(status.st_mode) or identity.may(status, needed):
            yield from _show(entry)


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


def _with_parents(steps: Iterable[Step], zones: Zones) -> Iterator[Step]:
    """The steps, after those that make the directories between each and its zone."""
    made = set(zones.outermost)
    for step in steps:
        parents = []
        above = os.path.dirname(step.path)
        while above not in made and above != "/":
            parents.append(above)
            above = os.path.dirname(above)
        yield from (Step(PARENT, parent, "") for parent in reversed(parents))
        made.update(parents)
        if step.path not in made:
            yield step
        made.add(step.path)


def _hiding_steps(hidden: Iterable[str], steps: Iterable[Step]) -> Iterator[Step]:
    """Steps that hide those paths that ``steps`` show: the nearest step at or above is a BIND."""
    kinds = {step.path: step.kind for step in steps}
    above = ""
    for path in sorted({os.path.realpath(path) for path in hidden}, key=lambda it: it.split("/")):
        is_hidden = above and is_at_or_below(path, above)
        if not is_hidden and _kind_at(path, kinds) == BIND and (detail := _type_and_inode(path)):
            yield Step(EMPTY, path, detail)
            above = path


def _kind_at(path: str, kinds: dict[str, str]) -> str:
    """The kind of the nearest step at or above a path; "" if there is none."""
    nearest = next((above for above in (path, *_ancestors(path)) if above in kinds), "")
    return kinds.get(nearest, "")


def _name_resolution_steps() -> Iterator[Step]:
    """/etc/resolv.conf is often a symlink to a file below /run, which isn't shown as a whole."""
    for path in _resolvers():
        if path.startswith("/run/"):
            yield Step(PARENT, os.path.dirname(path), "")
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


def _type_and_inode(path: str) -> str:
    """Differs for another file or directory; "" for none."""
    try:
        status = os.lstat(path)
    except OSError:
        return ""
    kind = "directory" if stat.S_ISDIR(status.st_mode) else "file"
    return f"{kind} {status.st_dev}:{status.st_ino}"


def _mtime_ns(path: str) -> int:
    try:
        return os.stat(path).st_mtime_ns
    except OSError:
        return 0
