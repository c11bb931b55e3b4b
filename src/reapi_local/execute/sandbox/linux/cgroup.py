"""Memory limits of actions by control groups, where this process may have groups of its own.

Version 1: a group below our own one, if its directory is writable. Version 2: the same, but a group
that limits its children can't have processes itself: we move into a child, and give up if we
weren't the only process.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple

_NAME: Final = "reapi-local"
_NUMBERS: Final = itertools.count()
_SERVER: Final = "reapi-local-server"


class _Files(NamedTuple):
    """Where a version has it: the limit, that of memory with swap, and what was killed."""

    limit: str
    swap: str
    events: str


_VERSION_1: Final = _Files(
    "memory.limit_in_bytes", "memory.memsw.limit_in_bytes", "memory.oom_control"
)
_VERSION_2: Final = _Files("memory.max", "memory.swap.max", "memory.events")


class MemoryGroup:
    """A group of processes that together get so much memory and no swap; files in memory count."""

    def __init__(self, directory: Path, files: _Files, memory_bytes: int) -> None:
        directory.mkdir()
        self._directory = directory
        self._files = files
        (directory / files.limit).write_text(str(memory_bytes))
        with contextlib.suppress(OSError):  # a kernel that doesn't count swap
            swap_bytes = 0 if files is _VERSION_2 else memory_bytes
            (directory / files.swap).write_text(str(swap_bytes))

    def add(self, pid: int) -> None:
        """Move a process in; what it starts from now on is in, too.

        Raises:
            OSError: it can't be done.
        """
        (self._directory / "cgroup.procs").write_text(str(pid))

    def kills(self) -> int:
        """How often so far the kernel has killed a process for want of memory."""
        text = (self._directory / self._files.events).read_text()
        found = re.search(r"^oom_kill (\d+)$", text, re.MULTILINE)
        return int(found[1]) if found else 0

    def remove(self) -> None:
        """Once its processes are gone. Does not fail."""
        with contextlib.suppress(OSError):
            self._directory.rmdir()


class MemoryGroups:
    """Makes groups of that size. None can be had: :meth:`find` returns None."""

    def __init__(self, parent: Path, files: _Files, memory_bytes: int) -> None:
        self._parent = parent
        self._files = files
        self._memory_bytes = memory_bytes

    @classmethod
    def find(cls, memory_bytes: int) -> MemoryGroups | None:
        """Look for a place where this process may make such groups, and try."""
        for parent, files in _places():
            groups = cls(parent, files, memory_bytes)
            try:
                groups._remove_leftovers()
                if files is _VERSION_2:
                    _hand_down_memory(parent)
                groups.make().remove()
            except OSError:
                continue
            return groups
        return None

    def make(self) -> MemoryGroup:
        """A new, empty group.

        Raises:
            OSError: it can't be had.
        """
        directory = self._parent / f"{_NAME}-{os.getpid()}-{next(_NUMBERS)}"
        return MemoryGroup(directory, self._files, self._memory_bytes)

    def _remove_leftovers(self) -> None:
        """Of servers that were killed."""
        for directory in self._parent.glob(f"{_NAME}-[0-9]*-[0-9]*"):
            if not Path("/proc", directory.name.split("-")[2]).exists():
                with contextlib.suppress(OSError):
                    directory.rmdir()


def _places() -> Iterator[tuple[Path, _Files]]:
    """The directories of our own group, one for each hierarchy that limits memory."""
    own = [line.split(":", 2) for line in _read("/proc/self/cgroup").splitlines()]
    for line in _read("/proc/self/mountinfo").splitlines():
        fields, _, rest = line.partition(" - ")
        root, mount_point = fields.split()[3:5]
        kind, _, options = rest.split()[:3]
        has_memory = kind == "cgroup" and "memory" in options.split(",")
        for _, controllers, path in own:
            if has_memory and "memory" in controllers.split(","):
                yield _inside(mount_point, root, path), _VERSION_1
            elif kind == "cgroup2" and not controllers:
                yield _inside(mount_point, root, path), _VERSION_2


def _inside(mount_point: str, root: str, path: str) -> Path:
    return Path(mount_point, os.path.relpath(path, root))


def _hand_down_memory(parent: Path) -> None:
    """Let children of the group limit memory, for which it must have no processes but in them."""
    control = parent / "cgroup.subtree_control"
    if "memory" in control.read_text().split():
        return
    server = parent / _SERVER
    server.mkdir(exist_ok=True)
    (server / "cgroup.procs").write_text(str(os.getpid()))
    try:
        control.write_text("+memory")
    except OSError:
        (parent / "cgroup.procs").write_text(str(os.getpid()))
        server.rmdir()
        raise


def _read(path: str) -> str:
    try:
        return Path(path).read_text(encoding="utf-8")
    except OSError:
        return ""
