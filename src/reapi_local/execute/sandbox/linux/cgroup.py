"""Limits the memory of actions with cgroups, where this process may create cgroups.

Version 1: a cgroup below our own, if we can write to its directory. Version 2: the same, but a
cgroup with limited children can't contain processes itself. So we move this process to a child,
and give up if other processes remain in our cgroup.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple

_ACTION_PREFIX: Final = "reapi-local"
_SERVER_NAME: Final = "reapi-local-server"
_NUMBERS: Final = itertools.count()


class _ControlFiles(NamedTuple):
    """File names of one cgroup version: memory limit, limit with swap, event counts, and usage.

    ``file_cache`` is the name of a number in ``memory.stat``.
    """

    limit: str
    swap: str
    events: str
    usage: str
    file_cache: str


_VERSION_1: Final = _ControlFiles(
    limit="memory.limit_in_bytes",
    swap="memory.memsw.limit_in_bytes",
    events="memory.oom_control",
    usage="memory.usage_in_bytes",
    file_cache="cache",
)
_VERSION_2: Final = _ControlFiles(
    limit="memory.max",
    swap="memory.swap.max",
    events="memory.events",
    usage="memory.current",
    file_cache="file",
)


class MemoryCgroup:
    """Processes that together get ``memory_bytes`` and no swap; files on a tmpfs count, too."""

    def __init__(self, directory: Path, files: _ControlFiles, memory_bytes: int) -> None:
        directory.mkdir()
        self._directory = directory
        self._files = files
        (directory / files.limit).write_text(str(memory_bytes))
        with contextlib.suppress(OSError):  # a kernel without swap accounting
            swap_bytes = 0 if files is _VERSION_2 else memory_bytes
            (directory / files.swap).write_text(str(swap_bytes))

    def add(self, pid: int) -> None:
        """Move a process into the cgroup; processes that it starts from now on are in it, too.

        Raises:
            OSError: the kernel refuses.
        """
        (self._directory / "cgroup.procs").write_text(str(pid))

    def oom_kills(self) -> int:
        """How many processes of this cgroup the OOM killer has killed so far."""
        text = (self._directory / self._files.events).read_text()
        found = re.search(r"^oom_kill (\d+)$", text, re.MULTILINE)
        return int(found[1]) if found else 0

    def held_bytes(self) -> int:
        """Memory that somebody holds, files on a tmpfs included.

        Without what the kernel holds for itself, and copies of files on a disk: it frees these when
        it needs room.
        """
        lines = (self._directory / "memory.stat").read_text().splitlines()
        counts = {name: int(number) for name, number in map(str.split, lines)}
        file_cache = counts[self._files.file_cache] - counts["shmem"]
        kernel = counts.get("kernel", counts.get("slab", 0))
        with contextlib.suppress(OSError):  # version 1 has it in a file of its own
            kernel = int((self._directory / "memory.kmem.usage_in_bytes").read_text())
        usage = int((self._directory / self._files.usage).read_text())
        return usage - file_cache - kernel

    def remove(self) -> None:
        """Delete the cgroup, whose processes must have exited. Ignores errors."""
        with contextlib.suppress(OSError):
            self._directory.rmdir()


class MemoryCgroups:
    """Creates cgroups with one memory limit. :meth:`find` returns None where that is impossible."""

    def __init__(self, parent: Path, files: _ControlFiles, memory_bytes: int) -> None:
        self._parent = parent
        self._files = files
        self._memory_bytes = memory_bytes

    @classmethod
    def find(cls, memory_bytes: int) -> MemoryCgroups | None:
        """Search for a cgroup below which this process can create others, and try it."""
        for parent, files in _own_cgroups():
            cgroups = cls(parent, files, memory_bytes)
            try:
                cgroups._remove_stale()
                if files is _VERSION_2:
                    _delegate_memory_controller(parent)
                cgroups.create().remove()
            except OSError:
                continue
            return cgroups
        return None

    def create(self) -> MemoryCgroup:
        """A new, empty cgroup.

        Raises:
            OSError: the kernel refuses.
        """
        directory = self._parent / f"{_ACTION_PREFIX}-{os.getpid()}-{next(_NUMBERS)}"
        return MemoryCgroup(directory, self._files, self._memory_bytes)

    def _remove_stale(self) -> None:
        """Remove cgroups of servers that were killed."""
        for directory in self._parent.glob(f"{_ACTION_PREFIX}-[0-9]*-[0-9]*"):
            if not Path("/proc", directory.name.split("-")[2]).exists():
                with contextlib.suppress(OSError):
                    directory.rmdir()


def _own_cgroups() -> Iterator[tuple[Path, _ControlFiles]]:
    """The directory of our own cgroup in each mounted hierarchy that can limit memory."""
    own = [line.split(":", 2) for line in _read("/proc/self/cgroup").splitlines()]
    for line in _read("/proc/self/mountinfo").splitlines():
        fields, _, rest = line.partition(" - ")
        root, mount_point = fields.split()[3:5]
        kind, _, options = rest.split()[:3]
        has_memory = kind == "cgroup" and "memory" in options.split(",")
        for _, controllers, path in own:
            if has_memory and "memory" in controllers.split(","):
                yield _below_mount(mount_point, root, path), _VERSION_1
            elif kind == "cgroup2" and not controllers:
                yield _below_mount(mount_point, root, path), _VERSION_2


def _below_mount(mount_point: str, root: str, path: str) -> Path:
    return Path(mount_point, os.path.relpath(path, root))


def _delegate_memory_controller(parent: Path) -> None:
    """Let children of the cgroup limit memory. For that, move this process into a child, too."""
    control = parent / "cgroup.subtree_control"
    if "memory" in control.read_text().split():
        return
    server = parent / _SERVER_NAME
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
