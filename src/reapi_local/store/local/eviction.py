"""Eviction: leased and recently used keys are copied forward, the rest is deleted."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Final

from reapi_local.clock import Clock, set_within
from reapi_local.protocol.digest import Digest
from reapi_local.store.local.generation import Generation
from reapi_local.store.local.generation_list import GenerationList
from reapi_local.store.local.index import Batch, Table
from reapi_local.store.local.large_files import is_large
from reapi_local.store.local.leases import Leases
from reapi_local.store.local.rotation import cost_bytes
from reapi_local.store.verification import is_intact
from reapi_local.threads import in_thread, to_the_end

_BATCH_KEYS: Final = 64
_PAUSE_PER_WORK: Final = 9
RESULT_KEY_PREFIX: Final = b"\0"
"""Leases hold keys of both tables. A digest begins with its function, which is never 0."""


class Eviction:
    """Copies forward from ``old`` what must not be lost, then deletes it.

    After each batch it pauses for ``_PAUSE_PER_WORK`` times as long as the batch took, and leaves
    the disk and the interpreter to clients. While ``urgent`` is set it makes no pauses, because a
    writer waits for the space.
    """

    def __init__(
        self,
        generations: GenerationList,
        old: Generation,
        leases: Leases,
        urgent: asyncio.Event,
        clock: Clock,
    ) -> None:
        self._generations, self._old, self._leases = generations, old, leases
        self._urgent, self._clock = urgent, clock

    async def run(self, recent_budget_bytes: int) -> None:
        """Copy leased and recently used keys forward, then delete the generation.

        All leased keys are copied, also those that are leased while this runs. Recently used keys
        are copied up to about ``recent_budget_bytes``.

        Raises:
            StorageFull: the disk has no space for the leased keys; ``old`` stays.
        """
        # Wait for writes to older generations, because each key below is looked up only once.
        for generation in self._generations.newest_first[1:]:
            await generation.idle()
        with self._leases.follow() as leased:
            recent = self._leases.take_recent().difference(leased)
            await self._copy_recent_forward(list(recent), recent_budget_bytes)
            done = 0
            while done < len(leased) or not self._old.is_idle:
                if done == len(leased):
                    await self._old.idle()
                    continue
                keys = leased[done : done + _BATCH_KEYS]
                done += len(keys)
                await self._copy_forward(keys)
            # No await since the last check of the list, so no key can have been leased in between.
            self._generations.detach(self._old)
        await in_thread(self._old.destroy)

    async def _copy_recent_forward(self, keys: Sequence[bytes], budget_bytes: int) -> None:
        for start in range(0, len(keys), _BATCH_KEYS):
            if budget_bytes <= 0:
                return
            budget_bytes -= await self._copy_forward(
                keys[start : start + _BATCH_KEYS], budget_bytes
            )

    async def _copy_forward(self, keys: Sequence[bytes], budget_bytes: int | None = None) -> int:
        """Copy the keys that only ``old`` holds; returns about how many bytes that took."""
        began = self._clock.monotonic()
        size = await to_the_end(self._copy_batch(keys, budget_bytes))
        took = self._clock.monotonic() - began
        await set_within(self._urgent, _PAUSE_PER_WORK * took, self._clock)
        return size

    async def _copy_batch(self, keys: Sequence[bytes], budget_bytes: int | None) -> int:
        newer = self._generations.newer_than(self._old)
        target = self._generations.newest
        with target.writing():
            batch = await in_thread(
                _collect, self._old, newer, target, keys, budget_bytes, self._generations.durable
            )
            if batch.put_if_absent or batch.copied or batch.large:
                await self._generations.commit(target, batch)
        blobs = sum(cost_bytes(len(value)) for _, _, value in batch.put_if_absent)
        results = sum(cost_bytes(len(value)) for _, value, _ in batch.copied)
        return blobs + results + sum(taken for _, taken in batch.large)


def _collect(
    old: Generation,
    newer: Sequence[Generation],
    target: Generation,
    keys: Sequence[bytes],
    budget_bytes: int | None,
    durable: bool,
) -> Batch:
    results = [key for key in keys if key.startswith(RESULT_KEY_PREFIX)]
    blobs = [Digest(key) for key in keys if not key.startswith(RESULT_KEY_PREFIX)]
    for generation in newer:
        results = generation.index.missing(Table.RESULTS, results)
        blobs = [Digest(key) for key in generation.missing(blobs)]
    absent = set(old.missing(blobs))
    held = [digest for digest in blobs if digest not in absent]
    if budget_bytes is not None:
        held = _within(held, budget_bytes)
    small = old.index.get_many(Table.BLOBS, [digest for digest in held if not is_large(digest)])
    batch = Batch(
        put_if_absent=[
            (Table.BLOBS, key, value)
            for key, value in small.items()
            if is_intact(Digest(key), value)
        ],
        # A write may replace this result meanwhile, and a lookup may remove it.
        copied=[
            (key, value, old.index)
            for key, value in old.index.get_many(Table.RESULTS, results).items()
        ],
    )
    for digest in held:
        if is_large(digest):
            try:
                taken = target.files.link(old.files.path(digest), digest, durable=durable)
            except FileNotFoundError:
                continue  # quarantined meanwhile
            batch.large.append((digest, taken))
    return batch


def _within(digests: Sequence[Digest], budget_bytes: int) -> list[Digest]:
    chosen = []
    for digest in digests:
        cost = cost_bytes(digest.size_bytes)
        if cost <= budget_bytes:
            budget_bytes -= cost
            chosen.append(digest)
    return chosen


def leased_bytes(
    generation: Generation, newer: Sequence[Generation], leased: Sequence[bytes]
) -> int:
    """About how many bytes of a generation are leased: an eviction doesn't free those."""
    absent = set(generation.missing(leased))
    held: Sequence[bytes] = [key for key in leased if key not in absent]
    for other in newer:
        held = other.missing(held)
    return sum(cost_bytes(Digest(key).size_bytes) for key in held)
