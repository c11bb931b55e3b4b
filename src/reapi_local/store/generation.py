"""One generation: a directory with an index for what is small and a file for each large blob."""

from __future__ import annotations

import asyncio
import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from reapi_local.protocol.digest import Digest
from reapi_local.store.index import Index, Table
from reapi_local.store.large_files import LargeFiles, sync_directory

_PREFIX = "gen-"
_DEAD_SUFFIX = ".dead"
_CLEAN_MARK = "closed-cleanly"


class Generation:
    """An open generation in ``root/gen-NNNNNNNN``; made when it isn't there."""

    def __init__(self, root: str, number: int, map_bytes: int, *, durable: bool) -> None:
        self.number = number
        self.path = os.path.join(root, f"{_PREFIX}{number:08d}")
        self._durable = durable
        self._writers = 0
        self._idle = asyncio.Event()
        self._idle.set()
        fresh = not os.path.isdir(self.path)
        os.makedirs(os.path.join(self.path, "large"), mode=0o700, exist_ok=True)
        self.index = Index(self.path, map_bytes, durable=durable)
        self.files = LargeFiles(os.path.join(self.path, "large"))
        if fresh and durable:
            sync_directory(self.path)
            sync_directory(root)

    @property
    def disk_bytes(self) -> int:
        """What it takes on disk, index pages and large files together."""
        return self.index.disk_bytes + self.index.large_bytes

    def missing(self, digests: Sequence[bytes]) -> list[bytes]:
        """The blobs it doesn't hold, in the order given."""
        return self.index.missing(Table.BLOBS, digests)

    def holds(self, digest: Digest) -> bool:
        return not self.index.missing(Table.BLOBS, (digest,))

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Around every write on its way here: it isn't retired before the last has ended."""
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
        """Wait until no write is on its way."""
        await self._idle.wait()

    def close(self) -> None:
        self.index.close()
        if not self._durable:
            with open(os.path.join(self.path, _CLEAN_MARK), "wb"):
                pass

    def destroy(self) -> None:
        """Close it and delete it. The new name keeps a half-deleted one from coming back."""
        self.index.close()
        dead = self.path + _DEAD_SUFFIX
        os.rename(self.path, dead)
        shutil.rmtree(dead, ignore_errors=True)


def existing_numbers(root: str) -> list[int]:
    """The generations on disk, oldest first."""
    names = (name.removeprefix(_PREFIX) for name in os.listdir(root) if name.startswith(_PREFIX))
    return sorted(int(name) for name in names if name.isdigit())


def remove_dead(root: str) -> None:
    """Finish deletions that a crash interrupted."""
    for name in os.listdir(root):
        if name.endswith(_DEAD_SUFFIX):
            shutil.rmtree(os.path.join(root, name), ignore_errors=True)


def drop_unless_clean(root: str, number: int) -> None:
    """For stores without syncs: delete a generation that wasn't closed cleanly.

    Its index may be torn. One that was closed cleanly loses its mark, for it is in use again.
    """
    path = os.path.join(root, f"{_PREFIX}{number:08d}")
    try:
        os.unlink(os.path.join(path, _CLEAN_MARK))
    except FileNotFoundError:
        shutil.rmtree(path, ignore_errors=True)
