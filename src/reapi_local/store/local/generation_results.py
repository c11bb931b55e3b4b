"""The action cache on disk: results are in the same generations as blobs."""

from __future__ import annotations

import json
import zlib
from typing import Final

import msgspec

from reapi_local.context import Context
from reapi_local.events import EntryRemoved, EventStream
from reapi_local.protocol.digest import Digest, without_size_bytes
from reapi_local.protocol.lookup import Hit, Lookup, Miss, MissReason, StoredResult
from reapi_local.store.local.eviction import RESULT_KEY_PREFIX
from reapi_local.store.local.generation import Generation
from reapi_local.store.local.generation_store import GenerationStore
from reapi_local.store.local.index import Batch, Table
from reapi_local.store.local.rotation import COMMIT_BYTES, cost_bytes

_ORIGIN: Final = msgspec.json.Decoder(tuple[float, str, str])


class GenerationActionCache:
    """An :class:`~reapi_local.store.action_cache.ActionCache` within a store's generations."""

    def __init__(self, store: GenerationStore, events: EventStream) -> None:
        self._generations, self._leases = store.generations, store.leases
        self._capacity, self._events = store.capacity, events

    async def get(self, context: Context, action: Digest) -> Lookup:
        key = _key(context, action)
        value = self._newest_value(key)
        self._leases.add(context.invocation, () if value is None else (key,))
        if value is None:
            return Miss(MissReason.ABSENT)
        stored = _decode(value)
        if stored is not None:
            return Hit(stored)
        if await self._remove(key, value):
            self._events.emit(EntryRemoved(context, action, MissReason.CORRUPT, ()))
        return Miss(MissReason.CORRUPT)

    def _newest_value(self, key: bytes) -> bytes | None:
        for generation in self._generations.newest_first:
            value = generation.index.get(Table.RESULTS, key)
            if value is not None:
                return value
        return None

    def actions_with(self, beginning: bytes, limit: int) -> list[tuple[bytes, str]]:
        """The entries whose function and hash begin so, at most ``limit``.

        Each as the function and hash of its action, and its instance.
        """
        start = len(RESULT_KEY_PREFIX)
        keys = self._generations.keys_with(RESULT_KEY_PREFIX + beginning, Table.RESULTS, limit)
        lengths = ((key, start + without_size_bytes(key[start])) for key in keys)
        return [(key[start:end], key[end:].decode()) for key, end in lengths]

    async def put(self, context: Context, action: Digest, stored: StoredResult) -> None:
        key, value = _key(context, action), _encode(stored)
        self._leases.add(context.invocation, (key,))
        async with self._capacity.reserved(cost_bytes(len(value)) + COMMIT_BYTES):
            target = self._generations.newest
            with target.writing():
                await self._generations.commit(target, Batch(puts=[(Table.RESULTS, key, value)]))
                await self._remove_older(key, target)

    async def _remove_older(self, key: bytes, target: Generation) -> None:
        """Delete the replaced entry: it would be found again if ``target`` were evicted first."""
        while older := self._generations.find(key, Table.RESULTS, below=target.number):
            await self._generations.commit(older, Batch(deletes=[(Table.RESULTS, key)]))

    async def remove(self, context: Context, action: Digest, stored: StoredResult) -> bool:
        return await self._remove(_key(context, action), _encode(stored))

    async def _remove(self, key: bytes, value: bytes) -> bool:
        """Delete the entry from each generation that has exactly this value; returns if any had."""
        removed = False
        for generation in self._generations.newest_first[:]:
            if generation not in self._generations.newest_first:
                continue  # evicted and closed during the last commit
            if generation.index.get(Table.RESULTS, key) == value:
                # Compared again within the commit: a put may come in between.
                batch = Batch(deletes_if=[(Table.RESULTS, key, value)])
                await self._generations.commit(generation, batch)
                removed |= batch.deleted > 0
        return removed


def _key(context: Context, action: Digest) -> bytes:
    return RESULT_KEY_PREFIX + action.without_size + context.instance.encode()


def _encode(stored: StoredResult) -> bytes:
    """Checksum (4 bytes), length of the origin (4 bytes), origin as JSON, the result."""
    origin = json.dumps([stored.written_at, stored.written_by, stored.invocation]).encode()
    body = len(origin).to_bytes(4, "big") + origin + stored.result
    return zlib.crc32(body).to_bytes(4, "big") + body


def _decode(value: bytes) -> StoredResult | None:
    """The stored result; None if the bytes are damaged."""
    if len(value) < 8 or zlib.crc32(value[4:]) != int.from_bytes(value[:4], "big"):
        return None
    end = 8 + int.from_bytes(value[4:8], "big")
    written_at, written_by, invocation = _ORIGIN.decode(value[8:end])
    return StoredResult(value[end:], written_at, written_by, invocation)
