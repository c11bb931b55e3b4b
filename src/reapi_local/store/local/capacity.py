"""Space on disk: a write reserves it, and generations are evicted to make it."""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Final

from reapi_contract.sizes import format_size
from reapi_local.clock import Clock, set_within
from reapi_local.errors import Draining, StorageFull
from reapi_local.events import EventStream, GenerationEvicted
from reapi_local.store.local.eviction import Eviction, leased_bytes
from reapi_local.store.local.generation import Generation
from reapi_local.store.local.generation_list import GenerationList
from reapi_local.store.local.leases import Leases
from reapi_local.store.local.rotation import (
    StoreLimits,
    fits,
    is_full,
    is_over_soft_limit,
    is_worth_evicting,
)
from reapi_local.threads import in_thread

_log = logging.getLogger(__name__)
_RETRY_SECONDS: Final = 1.0
_RELEASE_WAIT_SECONDS: Final = 1.0
_LONGEST_WAIT_SECONDS: Final = 5.0
"""However many small writes end meanwhile, a write that waits for room is answered."""


class Capacity:
    """Keeps a store within its limits: a write first reserves the space that it needs.

    ``free_bytes`` returns how much the file system has left.
    """

    def __init__(
        self,
        generations: GenerationList,
        leases: Leases,
        limits: StoreLimits,
        clock: Clock,
        events: EventStream,
        free_bytes: Callable[[], int] | None = None,
    ) -> None:
        self._generations, self._leases, self._limits = generations, leases, limits
        self._clock, self._events = clock, events
        self._free_bytes = free_bytes or (lambda: free_disk_bytes(generations.incoming))
        self._free_seen = 0
        self._reserved = 0
        self._lock = asyncio.Lock()
        self._urgent = asyncio.Event()
        self._waiting = 0
        self._background: asyncio.Task[None] | None = None
        self._retry_eviction_at = self._retry_wait_at = float("-inf")
        self._released = asyncio.Event()
        self._closed = False

    @property
    def used_bytes(self) -> int:
        """Bytes on disk, plus the bytes reserved by writes in progress."""
        return self._generations.disk_bytes + self._reserved

    @property
    def free_bytes(self) -> int:
        return self._free_bytes()

    @asynccontextmanager
    async def reserved(self, needed_bytes: int) -> AsyncIterator[None]:
        """Reserve space for a write within the block; raises as :meth:`reserve`."""
        await self.reserve(needed_bytes)
        try:
            yield
        finally:
            self.release(needed_bytes)

    async def reserve(self, needed_bytes: int) -> None:
        """Reserve space, and evict generations if there is not enough.

        Raises:
            StorageFull: too much of the store is leased, or the blob is larger than the limit.
            Draining: the store is being closed.
        """
        if not self._fits(needed_bytes):
            await self._make_room(needed_bytes)
        self._reserved += needed_bytes

    def release(self, needed_bytes: int) -> None:
        """Give back reserved space: the write has ended, and its data counts as used now."""
        self._reserved -= needed_bytes
        self._released.set()
        if self._background is None and not self._closed and self._wants_work():
            self._background = asyncio.create_task(self._maintain())
            self._background.add_done_callback(self._maintained)

    async def settle(self) -> None:
        """Wait until no generation is being started or evicted."""
        while self._background is not None:
            await asyncio.wait([self._background])
            await asyncio.sleep(0)
        async with self._lock:
            pass

    async def close(self) -> None:
        """Start no more maintenance, and wait for maintenance in progress."""
        self._closed = True
        with self._urgently():
            await self.settle()

    async def start_generation(self) -> None:
        """Start a new generation now."""
        async with self._lock:
            await self._generations.start_generation()

    async def evict_oldest(self) -> None:
        """Evict the oldest generation now, whatever the sizes; the newest always stays."""
        async with self._lock:
            if len(self._generations.newest_first) > 1:
                with self._urgently():
                    await self._evict(self._generations.newest_first[-1])

    def _fits(self, needed_bytes: int) -> bool:
        self._free_seen = self._free_bytes()
        return fits(self.used_bytes, self._free_seen, needed_bytes, self._limits)

    def _is_over_soft_limit(self, free_bytes: int | None = None) -> bool:
        free_bytes = self._free_bytes() if free_bytes is None else free_bytes
        return is_over_soft_limit(self.used_bytes, free_bytes, self._limits)

    def _wants_work(self) -> bool:
        if is_full(self._generations.newest.disk_bytes, self._limits):
            return True
        # The value from the start of the write is good enough: statvfs costs a fifth of the write.
        return (
            self._is_over_soft_limit(self._free_seen)
            and self._clock.monotonic() >= self._retry_eviction_at
        )

    async def _make_room(self, needed_bytes: int) -> None:
        if needed_bytes > self._limits.max_bytes:
            raise StorageFull(
                f"{needed_bytes} bytes don't fit: the store may hold at most "
                f"{self._limits.max_bytes}; raise --max-size"
            )
        deadline = self._clock.monotonic() + _LONGEST_WAIT_SECONDS
        with self._urgently():
            async with self._lock:
                while not self._fits(needed_bytes):
                    if self._closed:
                        raise Draining
                    if not (await self._free_some() or await self._another_write_ends(deadline)):
                        raise self._no_room(needed_bytes)

    async def _another_write_ends(self, deadline: float) -> bool:
        """Wait until a write in progress ends: it frees its reservation, or can now be evicted.

        Returns False if no write is in progress, or if none ends within a second or by the
        deadline.
        """
        now = self._clock.monotonic()
        if not self._reserved or now < self._retry_wait_at:
            return False
        self._released.clear()
        longest = min(_RELEASE_WAIT_SECONDS, deadline - now)
        if not await set_within(self._released, longest, self._clock):
            self._retry_wait_at = self._clock.monotonic() + _RETRY_SECONDS
            return False
        self._retry_eviction_at = float("-inf")
        return True

    @contextmanager
    def _urgently(self) -> Iterator[None]:
        """Within the block a writer waits for space, so evictions make no pauses."""
        self._waiting += 1
        self._urgent.set()
        try:
            yield
        finally:
            self._waiting -= 1
            if not self._waiting:
                self._urgent.clear()

    def _no_room(self, needed_bytes: int) -> StorageFull:
        free, least = self._free_bytes(), self._limits.min_free_bytes
        if free - needed_bytes < least:
            return StorageFull(
                f"no room for {needed_bytes} bytes: the disk has {format_size(free)} free, and the "
                f"server leaves {format_size(least)} free; free some space on it"
            )
        return StorageFull(
            f"no room for {needed_bytes} bytes: {self.used_bytes} of {self._limits.max_bytes} are "
            "in use, and running builds have leases on the stored blobs; raise --max-size, or wait "
            "for builds to end"
        )

    async def _maintain(self) -> None:
        async with self._lock:
            if is_full(self._generations.newest.disk_bytes, self._limits):
                await self._generations.start_generation()
            while not self._closed and self._is_over_soft_limit():
                if not await self._free_some():
                    return

    def _maintained(self, task: asyncio.Task[None]) -> None:
        self._background = None
        if not task.cancelled() and (error := task.exception()) is not None:
            _log.error("could not make space in the store: %s", error, exc_info=error)
            self._back_off()

    async def _free_some(self) -> bool:
        """Evict the oldest generation that is worth it, and the newest as a last resort.

        Returns False if no generation could be evicted, or if that was tried within the last
        second.
        """
        if self._clock.monotonic() < self._retry_eviction_at:
            return False
        leased = list(self._leases.leased())
        for victim in reversed(self._generations.newest_first[:]):
            newer = self._generations.newer_than(victim)
            held = await in_thread(leased_bytes, victim, newer, leased)
            if not is_worth_evicting(victim.disk_bytes, held):
                continue
            if not newer:
                self._back_off()
                await self._generations.start_generation()
            try:
                await self._evict(victim)
            except StorageFull as error:  # no space for its leased keys; another may have fewer
                _log.warning("could not evict generation %d: %s", victim.number, error)
                continue
            return True
        self._back_off()
        return False

    def _back_off(self) -> None:
        """Nothing can be evicted now: try again a second later."""
        self._retry_eviction_at = self._clock.monotonic() + _RETRY_SECONDS

    async def _evict(self, victim: Generation) -> None:
        before = self._generations.disk_bytes
        eviction = Eviction(self._generations, victim, self._leases, self._urgent, self._clock)
        spare = self._limits.soft_bytes - (before - victim.disk_bytes)
        await eviction.run(recent_budget_bytes=min(spare, victim.disk_bytes) // 2)
        after = self._generations.disk_bytes
        self._events.emit(GenerationEvicted(victim.number, before, after))


def free_disk_bytes(path: str) -> int:
    """How many bytes an ordinary user can still write to the file system of ``path``."""
    stat = os.statvfs(path)
    return stat.f_bavail * stat.f_frsize
