"""Writes one layer to disk. All of this blocks, so it is called in threads."""

from __future__ import annotations

import os
from typing import Final, NamedTuple

from reapi_contract.data_dir import INPUT_RECORDS
from reapi_local.execute.local.inputs.layer_plan import LayerPlan
from reapi_local.execute.local.inputs.parsed_directory import DEFAULT_PROPERTIES, File

_PRIVATE_MODE, _SEARCHABLE_MODE = 0o700, 0o755
_NEW_FILE: Final = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW
_INODE_BYTES: Final = 512
_MAX_INLINE_TARGET_BYTES: Final = 59


class LayerRecord(NamedTuple):
    """What is known about a layer without reading it. On disk it is the name of an empty file."""

    number: int
    disk_bytes: int
    key: bytes

    @property
    def name(self) -> str:
        return f"{self.number}-{self.disk_bytes}-{self.key.hex()}"

    @staticmethod
    def parse(name: str) -> LayerRecord:
        number, size, key = name.split("-")
        return LayerRecord(int(number), int(size), bytes.fromhex(key))


class LayerWriter:
    """Writes one layer to the directory ``number`` below ``parent_fd``.

    All files and directories belong to ``owner`` (user and group id; None = to this process). Modes
    are set after the content, so neither the umask nor a read-only directory is an obstacle.
    Sealing the last file completes the layer: an empty file in the sibling directory ``records``
    marks it as complete. All methods raise OSError.
    """

    def __init__(
        self, plan: LayerPlan, number: int, parent_fd: int, block_bytes: int, owner: int | None
    ) -> None:
        self.plan = plan
        self.record = LayerRecord(number, _disk_bytes(plan, block_bytes), plan.key)
        self.is_published = False
        self._parent_fd, self._owner = parent_fd, owner
        self._root = b"%d" % number
        self._unsealed_files = sum(1 for _ in plan.files())

    def begin(self) -> None:
        """Create the directories and symlinks."""
        fd = self._parent_fd
        os.mkdir(self._root, _PRIVATE_MODE, dir_fd=fd)
        for directory in self.plan.directories():
            os.mkdir(self._path(directory), _PRIVATE_MODE, dir_fd=fd)
        for directory, link in self.plan.symlinks():
            path = self._path(directory, link.name)
            os.symlink(link.target, path, dir_fd=fd)
            self._chown(path)
            times = (link.mtime_ns, link.mtime_ns)
            os.utime(path, ns=times, dir_fd=fd, follow_symlinks=False)
        if not self._unsealed_files:
            self._complete()

    def create(self, directory: bytes, file: File) -> int:
        """Create a file and open it for writing. The caller writes, seals and closes it."""
        path = self._path(directory, file.name)
        return os.open(path, _NEW_FILE, _PRIVATE_MODE, dir_fd=self._parent_fd)

    def seal(self, fd: int, file: File) -> None:
        """Set owner, mode and time of a file after its content has been written."""
        if self._owner is not None:
            os.fchown(fd, self._owner, self._owner)
        os.fchmod(fd, file.mode)
        os.utime(fd, ns=(file.mtime_ns, file.mtime_ns))
        self._unsealed_files -= 1
        if not self._unsealed_files:
            self._complete()

    def _complete(self) -> None:
        """Set owner, mode and time of all directories, children first, and create the record."""
        for directory in reversed(self.plan.directories()):
            mode, mtime_ns = self.plan.properties.get(directory, DEFAULT_PROPERTIES)
            self._seal_directory(self._path(directory), mode, mtime_ns)
        self._seal_directory(self._root, _SEARCHABLE_MODE, DEFAULT_PROPERTIES.mtime_ns)
        record = os.path.join(INPUT_RECORDS, self.record.name)
        os.close(os.open(record, _NEW_FILE, _PRIVATE_MODE, dir_fd=self._parent_fd))

    def _seal_directory(self, path: bytes, mode: int, mtime_ns: int) -> None:
        self._chown(path)
        os.utime(path, ns=(mtime_ns, mtime_ns), dir_fd=self._parent_fd)
        os.chmod(path, mode, dir_fd=self._parent_fd)

    def _chown(self, path: bytes) -> None:
        if self._owner is not None:
            fd, owner = self._parent_fd, self._owner
            os.chown(path, owner, owner, dir_fd=fd, follow_symlinks=False)

    def _path(self, *segments: bytes) -> bytes:
        return b"/".join((self._root, *filter(None, segments)))


def _disk_bytes(plan: LayerPlan, block_bytes: int) -> int:
    """An upper estimate of the disk usage: whole blocks, and an allowance for each inode."""
    blocks = 1 + len(plan.directories())
    inodes = 1 + blocks  # one more for the record
    for _, file in plan.files():
        blocks += -(-file.digest.size_bytes // block_bytes)
        inodes += 1
    for _, link in plan.symlinks():
        blocks += len(link.target) > _MAX_INLINE_TARGET_BYTES
        inodes += 1
    return blocks * block_bytes + inodes * _INODE_BYTES
