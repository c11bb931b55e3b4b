"""A layer being written to disk. Everything in here blocks: it is called in threads."""

from __future__ import annotations

import os
from typing import Final, NamedTuple

from reapi_local.execute.local.inputs.layer_plan import LayerPlan
from reapi_local.execute.local.inputs.parsed_directory import PLAIN, File

RECORDS: Final = "records"

_PRIVATE, _SEARCHABLE = 0o700, 0o755
_NEW_FILE: Final = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW
_INODE_BYTES: Final = 512
_MAX_INLINE_TARGET: Final = 59


class Record(NamedTuple):
    """What is known of a layer without looking into it."""

    number: int
    disk_bytes: int
    key: bytes

    @property
    def name(self) -> str:
        return f"{self.number}-{self.disk_bytes}-{self.key.hex()}"

    @staticmethod
    def parse(name: str) -> Record:
        number, size, key = name.split("-")
        return Record(int(number), int(size), bytes.fromhex(key))


class LayerWriter:
    """A layer being written to the directory ``number`` below an open one.

    What it holds belongs to ``owner`` (user and group id; None = to this process). Modes are set
    after the content: neither the umask nor a directory that forbids writing gets in the way.
    With its last file the draft completes itself, and an empty file in ``records`` beside it
    tells of it by its name. All methods raise OSError.
    """

    def __init__(
        self, plan: LayerPlan, number: int, parent_fd: int, block_bytes: int, owner: int | None
    ) -> None:
        self.plan = plan
        self.record = Record(number, _disk_bytes(plan, block_bytes), plan.key)
        self.is_published = False
        self._parent_fd, self._owner = parent_fd, owner
        self._root = b"%d" % number
        self._files_left = sum(1 for _ in plan.files())

    def begin(self) -> None:
        """Make the directories and symlinks."""
        fd = self._parent_fd
        os.mkdir(self._root, _PRIVATE, dir_fd=fd)
        for path in self.plan.directories():
            os.mkdir(self._place(path), _PRIVATE, dir_fd=fd)
        for path, link in self.plan.symlinks():
            place = self._place(path, link.name)
            os.symlink(link.target, place, dir_fd=fd)
            self._give(place)
            times = (link.mtime_ns, link.mtime_ns)
            os.utime(place, ns=times, dir_fd=fd, follow_symlinks=False)
        if not self._files_left:
            self._complete()

    def create(self, path: bytes, file: File) -> int:
        """Make a file in the directory ``path``, open for writing: to be sealed and closed."""
        return os.open(self._place(path, file.name), _NEW_FILE, _PRIVATE, dir_fd=self._parent_fd)

    def seal(self, fd: int, file: File) -> None:
        """Give a file its owner, mode and time, now that it is written."""
        if self._owner is not None:
            os.fchown(fd, self._owner, self._owner)
        os.fchmod(fd, file.mode)
        os.utime(fd, ns=(file.mtime_ns, file.mtime_ns))
        self._files_left -= 1
        if not self._files_left:
            self._complete()

    def _complete(self) -> None:
        """Give directories owner, mode and time, from the leaves up, and make the record."""
        for path in reversed(self.plan.directories()):
            mode, mtime_ns = self.plan.properties.get(path, PLAIN)
            self._seal_directory(self._place(path), mode, mtime_ns)
        self._seal_directory(self._root, _SEARCHABLE, PLAIN.mtime_ns)
        record = os.path.join(RECORDS, self.record.name)
        os.close(os.open(record, _NEW_FILE, _PRIVATE, dir_fd=self._parent_fd))

    def _seal_directory(self, place: bytes, mode: int, mtime_ns: int) -> None:
        self._give(place)
        os.utime(place, ns=(mtime_ns, mtime_ns), dir_fd=self._parent_fd)
        os.chmod(place, mode, dir_fd=self._parent_fd)

    def _give(self, place: bytes) -> None:
        if self._owner is not None:
            fd, owner = self._parent_fd, self._owner
            os.chown(place, owner, owner, dir_fd=fd, follow_symlinks=False)

    def _place(self, *segments: bytes) -> bytes:
        return b"/".join((self._root, *filter(None, segments)))


def _disk_bytes(plan: LayerPlan, block_bytes: int) -> int:
    """What a layer takes on disk: whole blocks, and something for each inode and its name."""
    blocks = 1 + len(plan.directories())
    inodes = 1 + blocks  # the record is one more
    for _, file in plan.files():
        blocks += -(-file.digest.size_bytes // block_bytes)
        inodes += 1
    for _, link in plan.symlinks():
        blocks += len(link.target) > _MAX_INLINE_TARGET
        inodes += 1
    return blocks * block_bytes + inodes * _INODE_BYTES
