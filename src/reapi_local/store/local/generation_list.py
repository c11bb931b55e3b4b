"""The generations of one store, newest first: opening, looking up, writing to the newest."""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from typing import Final

from reapi_local.store.local.committer import Committer
from reapi_local.store.local.generation import (
    Generation,
    existing_numbers,
    remove_dead,
)
from reapi_local.store.local.index import Batch, Table
from reapi_local.store.local.rotation import StoreLimits
from reapi_local.threads import in_thread, to_the_end

_SAMPLE: Final = 8
_WORTH_A_SAMPLE: Final = 64


class GenerationList:
    """All generations below the directory ``root``, which is created if it doesn't exist.

    The cost of opening doesn't depend on the number of blobs. Only one process may have it open.
    """

    def __init__(self, root: str, limits: StoreLimits, *, durable: bool) -> None:
        self._root, self._limits, self._durable = root, limits, durable
        self.incoming = os.path.join(root, "incoming")
        self.quarantine = os.path.join(root, "quarantine")
        shutil.rmtree(self.incoming, ignore_errors=True)
        for directory in (self.incoming, self.quarantine):
            os.makedirs(directory, mode=0o700, exist_ok=True)
        remove_dead(root)
        numbers = existing_numbers(root) or [1]
        self.newest_first = [self._open(number) for number in reversed(numbers)]
        self._committer = Committer()

    def _open(self, number: int) -> Generation:
        # Only address space: an eviction may copy blobs into a generation that is full.
        map_bytes = 4 * self._limits.max_bytes + (1 << 30)
        return Generation(self._root, number, map_bytes, durable=self._durable)

    @property
    def durable(self) -> bool:
        return self._durable

    @property
    def newest(self) -> Generation:
        return self.newest_first[0]

    @property
    def disk_bytes(self) -> int:
        return sum(generation.disk_bytes for generation in self.newest_first)

    def missing(self, digests: Sequence[bytes]) -> list[bytes]:
        """The blobs that no generation holds, in the order given."""
        rest: Sequence[bytes] = digests
        for generation in self._search_order(digests):
            rest = generation.missing(rest)
            if not rest:
                break
        return list(rest)

    def _search_order(self, digests: Sequence[bytes]) -> list[Generation]:
        """Newest first; for a big request, first the generation that holds most of a sample.

        Most blobs of one build are in one generation. Searching each newer generation first would
        make old builds slower than new ones.
        """
        if len(self.newest_first) == 1 or len(digests) < _WORTH_A_SAMPLE:
            return self.newest_first
        sample = digests[:: len(digests) // _SAMPLE]
        return sorted(self.newest_first, key=lambda generation: len(generation.missing(sample)))

    def find(
        self, key: bytes, table: Table = Table.BLOBS, below: int | None = None
    ) -> Generation | None:
        """The newest generation that holds ``key``, with a number less than ``below`` if given."""
        for generation in self.newest_first:
            if (below is None or generation.number < below) and generation.holds(key, table):
                return generation
        return None

    def keys_with(self, beginning: bytes, table: Table, limit: int) -> list[bytes]:
        """Keys of any generation that begin so, in byte order, at most ``limit``."""
        found: set[bytes] = set()
        for generation in self.newest_first:
            found.update(generation.index.keys_with(table, beginning, limit))
        return sorted(found)[:limit]

    async def commit(self, generation: Generation, batch: Batch) -> None:
        """Write a batch to a generation; visible and durable when this returns.

        Raises:
            StorageFull: no space; nothing was written.
        """
        with generation.writing():
            await self._committer.commit(generation.index, batch)

    async def start_generation(self) -> None:
        """Start a new newest generation. One caller at a time.

        Raises:
            StorageFull: the disk has no space for it.
        """
        await to_the_end(self._start_generation())

    async def _start_generation(self) -> None:
        fresh = await in_thread(self._open, self.newest.number + 1)
        self.newest_first.insert(0, fresh)

    def newer_than(self, generation: Generation) -> list[Generation]:
        """The generations that are newer than this one, newest first."""
        return [other for other in self.newest_first if other.number > generation.number]

    def detach(self, generation: Generation) -> None:
        """Remove it from all lookups; its files stay until it is destroyed."""
        self.newest_first.remove(generation)

    def close(self) -> None:
        self._committer.close()
        for generation in self.newest_first:
            generation.close()
