"""Stores in memory, which follow the same contracts as the stores on disk."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager

from reapi_contract.admin_api import StoreStatus
from reapi_local.context import Context
from reapi_local.errors import BlobNotFound, ReapiError
from reapi_local.protocol.digest import EMPTY_BLOBS, Digest
from reapi_local.protocol.lookup import Hit, Lookup, Miss, MissReason, StoredResult
from reapi_local.store.blob_store import Blob, BlobReader, BlobWriter
from reapi_local.store.reading import BytesReader, check_range
from reapi_local.store.verification import verify
from reapi_local.store.writing import MemoryWriter


class MemoryStore:
    """A :class:`~reapi_local.store.blob_store.BlobStore` without a limit, which evicts nothing."""

    def __init__(self) -> None:
        self.blobs: dict[Digest, bytes] = dict.fromkeys(EMPTY_BLOBS, b"")

    async def find_missing(self, context: Context, digests: Sequence[Digest]) -> list[Digest]:
        return [digest for digest in digests if digest not in self.blobs]

    async def read_many(
        self, context: Context, digests: Sequence[Digest]
    ) -> Mapping[Digest, bytes]:
        return {digest: self.blobs[digest] for digest in digests if digest in self.blobs}

    async def write_many(
        self, context: Context, blobs: Sequence[Blob]
    ) -> Mapping[Digest, ReapiError]:
        failures: dict[Digest, ReapiError] = {}
        for digest, data in blobs:
            try:
                await verify(digest, data)
            except ReapiError as error:
                failures[digest] = error
            else:
                self.blobs[digest] = data
        return failures

    @asynccontextmanager
    async def open_read(
        self, context: Context, digest: Digest, offset: int = 0, limit: int = 0
    ) -> AsyncIterator[BlobReader]:
        length = check_range(digest, offset, limit)
        if digest not in self.blobs:
            raise BlobNotFound(digest)
        yield BytesReader(self.blobs[digest][offset : offset + length])

    async def open_write(self, context: Context, digest: Digest) -> BlobWriter:
        async def receive(data: bytes) -> None:
            self.blobs[digest] = data

        return MemoryWriter(digest, receive)

    def describe(self) -> StoreStatus:
        return StoreStatus(disk_bytes=sum(map(len, self.blobs.values())))


class MemoryActionCache:
    """An :class:`~reapi_local.store.action_cache.ActionCache` that evicts nothing."""

    def __init__(self) -> None:
        self.results: dict[tuple[str, bytes], StoredResult] = {}

    async def get(self, context: Context, action: Digest) -> Lookup:
        stored = self.results.get((context.instance, action.without_size))
        return Miss(MissReason.ABSENT) if stored is None else Hit(stored)

    async def put(self, context: Context, action: Digest, stored: StoredResult) -> None:
        self.results[context.instance, action.without_size] = stored

    async def remove(self, context: Context, action: Digest, stored: StoredResult) -> bool:
        key = (context.instance, action.without_size)
        is_same = self.results.get(key) == stored
        if is_same:
            del self.results[key]
        return is_same
