"""The action cache on disk: results in the same generations as the blobs they name."""

from __future__ import annotations

import json
import logging
import zlib

from reapi_local.store.local.eviction import RESULT_KEY_PREFIX
from reapi_local.store.local.generation import Generation
from reapi_local.store.local.generation_store import GenerationStore
from reapi_local.store.local.index import Batch, Table
from reapi_local.store.local.rotation import COMMIT_BYTES, cost_bytes
from reapi_local.store.types import ActionKey, StoredResult

_log = logging.getLogger(__name__)


class GenerationResults:
    """An :class:`~reapi_local.store.types.ActionCache` that shares a blob store's generations."""

    def __init__(self, store: GenerationStore) -> None:
        self._generations, self._leases, self._capacity = (
            store.generations,
            store.leases,
            store.capacity,
        )

    async def get(self, key: ActionKey, run: str = "") -> StoredResult | None:
        raw_key = _raw_key(key)
        generation = self._generations.find(raw_key, Table.RESULTS)
        self._leases.add(run, (raw_key,) if generation else ())
        if generation is None:
            return None
        stored = _decode(generation.index.get(Table.RESULTS, raw_key) or b"")
        if stored is None:
            _log.error("the result of action %s is damaged: removed", key.action)
            await self.remove(key)
        return stored

    async def put(self, key: ActionKey, stored: StoredResult) -> None:
        raw_key, value = _raw_key(key), _encode(stored)
        self._leases.add(stored.run, (raw_key,))
        async with self._capacity.reserved(cost_bytes(len(value)) + COMMIT_BYTES):
            target = self._generations.newest
            with target.writing():
                await self._generations.commit(
                    target, Batch(puts=[(Table.RESULTS, raw_key, value)])
                )
                await self._remove_older(raw_key, target)

    async def _remove_older(self, raw_key: bytes, target: Generation) -> None:
        """Forget what was replaced: it would come back when ``target`` goes first."""
        while older := self._generations.find(raw_key, Table.RESULTS, below=target.number):
            await self._generations.commit(older, Batch(deletes=[(Table.RESULTS, raw_key)]))

    async def remove(self, key: ActionKey) -> None:
        raw_key = _raw_key(key)
        while generation := self._generations.find(raw_key, Table.RESULTS):
            await self._generations.commit(generation, Batch(deletes=[(Table.RESULTS, raw_key)]))


def _raw_key(key: ActionKey) -> bytes:
    return RESULT_KEY_PREFIX + key.action + key.instance.encode()


def _encode(stored: StoredResult) -> bytes:
    """Checksum (4 bytes), length of the origin (4 bytes), origin as JSON, the result."""
    origin = json.dumps([stored.written_at, stored.written_by, stored.run]).encode()
    body = len(origin).to_bytes(4, "big") + origin + stored.result
    return zlib.crc32(body).to_bytes(4, "big") + body


def _decode(value: bytes) -> StoredResult | None:
    """The stored result; None when the bytes aren't what was written."""
    if len(value) < 8 or zlib.crc32(value[4:]) != int.from_bytes(value[:4], "big"):
        return None
    end = 8 + int.from_bytes(value[4:8], "big")
    written_at, written_by, run = json.loads(value[8:end])
    return StoredResult(value[end:], written_at, written_by, run)
