"""One generation: a directory with an index of small blobs, and a file for each large blob."""

from __future__ import annotations

import asyncio
import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from reapi_local.errors import StorageFull
from reapi_local.store.disk_errors import disk_errors
from reapi_local.store.local.index import Index, Table
from reapi_local.store.local.large_files import LargeFiles, sync_directory

_PREFIX = "gen-"
_DEAD_SUFFIX = ".dead"
_UNSYNCED_MARK = "unsynced"


class Generation:
    """An open generation in ``root/gen-NNNNNNNN``, which is created if it doesn't exist."""

    def __init__(self, root: str, number: int, map_bytes: int, *, durable: bool) -> None:
        self.number = number
        self.path = os.path.join(root, f"{_PREFIX}{number:08d}")
        self._synced = True
        self._durable = durable
        self._writers = 0
        self._idle = asyncio.Event()
        self._idle.set()
        fresh = not os.path.isdir(self.path)
        try:
            with disk_errors():
                os.makedirs(os.path.join(self.path, "large"), mode=0o700, exist_ok=True)
            self.index = Index(self.path, map_bytes, durable=durable)
        except StorageFull:
            if fresh:  # a half-made one would keep a full store from opening
                shutil.rmtree(self.path, ignore_errors=True)
            raise
        self.files = LargeFiles(os.path.join(self.path, "large"))
        sync_directory(self.path)
        sync_directory(root)

    @property
    def disk_bytes(self) -> int:
        """The bytes on disk of index pages and large files together."""
        return self.index.disk_bytes + self.index.large_bytes

    def missing(self, digests: Sequence[bytes]) -> list[bytes]:
        """The blobs that it doesn't hold, in the order given."""
        return self.index.missing(Table.BLOBS, digests)

    def holds(self, key: bytes, table: Table = Table.BLOBS) -> bool:
        return not self.index.missing(table, (key,))

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Every write to this generation is within such a block: an eviction waits for its end."""
        if self._synced and not self._durable:
            self._mark_unsynced()
        self._writers += 1
        self._idle.clear()
        try:
            yield
        finally:
            self._writers -= 1
            if not self._writers:
                self._idle.set()

    @property
    def is_idle(self) -> bool:
        return self._idle.is_set()

    async def idle(self) -> None:
        """Wait until no write is in progress."""
        await self._idle.wait()

    def _mark_unsynced(self) -> None:
        with disk_errors(), open(os.path.join(self.path, _UNSYNCED_MARK), "wb"):
            pass
        sync_directory(self.path)
        self._synced = False

    def close(self) -> None:
        if not self._synced:
            self.index.sync()
            os.unlink(os.path.join(self.path, _UNSYNCED_MARK))
        self.index.close()

    def destroy(self) -> None:
        """Close and delete it. The new name keeps a half-deleted generation from being opened."""
        self.index.close()
        dead = self.path + _DEAD_SUFFIX
        os.rename(self.path, dead)
        shutil.rmtree(dead, ignore_errors=True)


def existing_numbers(root: str) -> list[int]:
    """The numbers of the generations on disk, oldest first."""
    names = (name.removeprefix(_PREFIX) for name in os.listdir(root) if name.startswith(_PREFIX))
    return sorted(int(name) for name in names if name.isdigit())


def remove_dead(root: str) -> None:
    """Finish deletions that a crash interrupted, and delete generations that it may have damaged.

    A crash may damage the index of a generation that was written to without syncs.
    """
    for name in os.listdir(root):
        path = os.path.join(root, name)
        if os.path.exists(os.path.join(path, _UNSYNCED_MARK)) and not name.endswith(_DEAD_SUFFIX):
            os.rename(path, path + _DEAD_SUFFIX)
            path += _DEAD_SUFFIX
        if path.endswith(_DEAD_SUFFIX):
            shutil.rmtree(path, ignore_errors=True)
