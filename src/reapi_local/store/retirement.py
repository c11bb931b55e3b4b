"""Retiring a generation: what is promised, or was used lately, moves forward; the rest goes."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Final

from reapi_local.protocol.digest import Digest
from reapi_local.store.generation import Generation
from reapi_local.store.index import Batch, Table
from reapi_local.store.large_files import is_large
from reapi_local.store.leases import Leases
from reapi_local.store.rotation import cost_bytes
from reapi_local.store.stack import Stack
from reapi_local.store.threads import in_thread, to_the_end

_KEYS_AT_ONCE: Final = 256
RESULT_KEY_PREFIX: Final = b"\0"
"""Leases hold keys of both tables; a digest begins with its function, which is never 0."""


class Retirement:
    """Carries forward from ``old`` what must not be lost, then deletes it.

    ``in_a_hurry`` = a writer waits for the room; else every other moment is left to the clients.
    """

    def __init__(self, stack: Stack, old: Generation, leases: Leases, *, in_a_hurry: bool) -> None:
        self._stack, self._old, self._leases = stack, old, leases
        self._in_a_hurry = in_a_hurry

    async def run(self, recent_budget_bytes: int) -> None:
        """Do it all.

        Leased keys are carried without exception, those that come to be leased meanwhile too.
        Of what was used lately, about ``recent_budget_bytes`` at most.

        Raises:
            StorageFull: the disk has no room for what must be carried; ``old`` stays.
        """
        with self._leases.follow() as promised:
            recent = self._leases.take_recent().difference(promised)
            await self._carry_recent(list(recent), recent_budget_bytes)
            done = 0
            while done < len(promised) or not self._old.is_idle:
                if done == len(promised):
                    await self._old.idle()
                    continue
                keys = promised[done : done + _KEYS_AT_ONCE]
                done += len(keys)
                await self._carry(keys)
            # No await since the last look at the list: nobody can have been promised more.
            self._stack.take_out(self._old)
        await in_thread(self._old.destroy)

    async def _carry_recent(self, keys: Sequence[bytes], budget_bytes: int) -> None:
        for start in range(0, len(keys), _KEYS_AT_ONCE):
            if budget_bytes <= 0:
                return
            budget_bytes -= await self._carry(keys[start : start + _KEYS_AT_ONCE])

    async def _carry(self, keys: Sequence[bytes]) -> int:
        """Carry those of the keys that only ``old`` holds; returns about how many bytes."""
        began = asyncio.get_running_loop().time()
        target = self._stack.newest
        with target.writing():
            batch, size = await to_the_end(self._collect(target, keys))
            if size:
                await self._stack.commit(target, batch)
        if not self._in_a_hurry:
            await asyncio.sleep(asyncio.get_running_loop().time() - began)
        return size

    async def _collect(self, target: Generation, keys: Sequence[bytes]) -> tuple[Batch, int]:
        newer = [g for g in self._stack.generations if g.number > self._old.number]
        return await in_thread(_collect, self._old, newer, target, keys, self._stack.durable)


def _collect(
    old: Generation,
    newer: Sequence[Generation],
    target: Generation,
    keys: Sequence[bytes],
    durable: bool,
) -> tuple[Batch, int]:
    results = [key for key in keys if key.startswith(RESULT_KEY_PREFIX)]
    blobs = [Digest(key) for key in keys if not key.startswith(RESULT_KEY_PREFIX)]
    for generation in newer:
        results = generation.index.missing(Table.RESULTS, results)
        blobs = [Digest(key) for key in generation.missing(blobs)]
    absent = set(old.missing(blobs))
    held = [digest for digest in blobs if digest not in absent]
    small = old.index.get_many(Table.BLOBS, [digest for digest in held if not is_large(digest)])
    batch = Batch(
        # Another write may bring a newer result meanwhile, and that one stays.
        put_if_absent=[
            *((Table.BLOBS, key, value) for key, value in small.items()),
            *(
                (Table.RESULTS, key, value)
                for key, value in old.index.get_many(Table.RESULTS, results).items()
            ),
        ]
    )
    for digest in held:
        if is_large(digest):
            try:
                taken = target.files.link(old.files.path(digest), digest, durable=durable)
            except FileNotFoundError:
                continue  # set aside as damaged meanwhile
            batch.large.append((digest, taken))
    return batch, sum(cost_bytes(len(value)) for _, _, value in batch.put_if_absent) + len(
        batch.large
    )


def leased_bytes(generation: Generation, leased: Sequence[bytes]) -> int:
    """About how much of a generation leases hold: what retiring it would not give back."""
    absent = set(generation.missing(leased))
    return sum(
        cost_bytes(Digest(key).size_bytes)
        for key in leased
        if key not in absent and not key.startswith(RESULT_KEY_PREFIX)
    )
