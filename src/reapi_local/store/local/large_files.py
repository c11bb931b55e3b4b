"""Blobs too large for the index: each is a file, moved into place when it is complete."""

from __future__ import annotations

import os
from contextlib import suppress
from typing import Final

from reapi_local.protocol.digest import Digest
from reapi_local.store.disk_errors import disk_errors

INLINE_MAX_BYTES: Final = 64 * 1024
"""Blobs up to this size are in the index. To change this is to change the format on disk."""


def is_large(digest: Digest) -> bool:
    """Whether this blob is stored as a file."""
    return digest.size_bytes > INLINE_MAX_BYTES


class LargeFiles:
    """The large blobs of one generation, below the directory ``root``."""

    def __init__(self, root: str) -> None:
        self._root = root

    def path(self, digest: Digest) -> str:
        """The path of the blob's file, whether it exists or not."""
        name = f"{digest.function.name.lower()}-{digest.hash_hex}-{digest.size_bytes}"
        return os.path.join(self._root, digest.hash_hex[:2], name)

    def is_at(self, digest: Digest, fd: int) -> bool:
        """Whether this open file is still the blob's file."""
        try:
            return os.path.samestat(os.stat(self.path(digest)), os.fstat(fd))
        except FileNotFoundError:
            return False

    def publish(self, temporary: str, digest: Digest, *, durable: bool) -> int:
        """Move a finished file into place; returns its bytes on disk.

        The writer has synced it. It replaces a file with the same content, if there is one.
        """
        with disk_errors():
            target = self._prepare(digest)
            os.replace(temporary, target)
            if durable:
                sync_directory(os.path.dirname(target))
        return disk_bytes(target)

    def link(self, source: str, digest: Digest, *, durable: bool) -> int:
        """Link a blob of an older generation into this one; returns its bytes on disk."""
        with disk_errors():
            target = self._prepare(digest)
            with suppress(FileExistsError):
                os.link(source, target)
            if durable:
                sync_directory(os.path.dirname(target))
        return disk_bytes(target)

    def _prepare(self, digest: Digest) -> str:
        target = self.path(digest)
        parent = os.path.dirname(target)
        if not os.path.isdir(parent):
            os.makedirs(parent, mode=0o700, exist_ok=True)
            sync_directory(self._root)
        return target


def disk_bytes(path: str) -> int:
    """The bytes that the file takes on disk: its blocks, not its length."""
    return os.stat(path).st_blocks * 512


def sync_directory(path: str) -> None:
    """Make the entries of a directory durable."""
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
