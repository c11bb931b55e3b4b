"""Stores that emit an event for each lookup, read and write."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager

from reapi_contract.admin_api import StoreStatus
from reapi_local.context import Context
from reapi_local.errors import ReapiError
from reapi_local.events import (
    BlobsRead,
    BlobsWritten,
    CacheUser,
    EventStream,
    LookedUp,
    ResultWritten,
)
from reapi_local.protocol.digest import Digest
from reapi_local.protocol.lookup import Lookup, StoredResult
from reapi_local.store.action_cache import ActionCache
from reapi_local.store.blob_store import Blob, BlobReader, BlobStore, BlobWriter


class ObservedActionCache:
    """An action cache that emits each lookup and each write; ``user`` says who uses it."""

    def __init__(self, results: ActionCache, events: EventStream, user: CacheUser) -> None:
        self._results, self._events, self._user = results, events, user

    async def get(self, context: Context, action: Digest) -> Lookup:
        outcome = await self._results.get(context, action)
        self._events.emit(LookedUp(context, action, outcome, self._user))
        return outcome

    async def put(self, context: Context, action: Digest, stored: StoredResult) -> None:
        await self._results.put(context, action, stored)
        self._events.emit(ResultWritten(context, action, stored, self._user))

    async def remove(self, context: Context, action: Digest, stored: StoredResult) -> bool:
        return await self._results.remove(context, action, stored)


class ObservedBlobStore:
    """A blob store that emits reads and writes: one event for each call, not for each blob."""

    def __init__(self, blobs: BlobStore, events: EventStream) -> None:
        self._blobs, self._events = blobs, events

    async def find_missing(self, context: Context, digests: Sequence[Digest]) -> list[Digest]:
        return await self._blobs.find_missing(context, digests)

    async def read_many(
        self, context: Context, digests: Sequence[Digest]
    ) -> Mapping[Digest, bytes]:
        found = await self._blobs.read_many(context, digests)
        if found:
            self._events.emit(BlobsRead(context, len(found), sum(map(len, found.values()))))
        return found

    async def write_many(
        self, context: Context, blobs: Sequence[Blob]
    ) -> Mapping[Digest, ReapiError]:
        failures = await self._blobs.write_many(context, blobs)
        written = [data for digest, data in blobs if digest not in failures]
        if written:
            self._events.emit(BlobsWritten(context, len(written), sum(map(len, written))))
        return failures

    @asynccontextmanager
    async def open_read(
        self, context: Context, digest: Digest, offset: int = 0, limit: int = 0
    ) -> AsyncIterator[BlobReader]:
        async with self._blobs.open_read(context, digest, offset, limit) as reader:
            observed = _ObservedReader(reader)
            try:
                yield observed
            finally:
                self._events.emit(BlobsRead(context, 1, observed.size_bytes))

    async def open_write(self, context: Context, digest: Digest) -> BlobWriter:
        writer = await self._blobs.open_write(context, digest)
        return _ObservedWriter(writer, context, digest, self._events)

    def describe(self) -> StoreStatus:
        return self._blobs.describe()


class _ObservedReader:
    def __init__(self, reader: BlobReader) -> None:
        self._reader = reader
        self.size_bytes = 0

    async def read(self, max_bytes: int) -> bytes:
        chunk = await self._reader.read(max_bytes)
        self.size_bytes += len(chunk)
        return chunk


class _ObservedWriter:
    def __init__(
        self, writer: BlobWriter, context: Context, digest: Digest, events: EventStream
    ) -> None:
        self._writer, self._context, self._digest, self._events = writer, context, digest, events

    async def write(self, chunk: bytes) -> None:
        await self._writer.write(chunk)

    async def commit(self) -> None:
        await self._writer.commit()
        self._events.emit(BlobsWritten(self._context, 1, self._digest.size_bytes))

    async def discard(self) -> None:
        await self._writer.discard()
