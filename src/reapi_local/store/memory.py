"""Stores in memory: small, complete, and held to the same contract as the real ones."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager

from reapi_local.errors import BlobNotFound, ReapiError
from reapi_local.protocol.digest import EMPTY_BLOBS, Digest, check_content
from reapi_local.store.reading import BytesReader, check_range
from reapi_local.store.types import ActionKey, Blob, BlobReader, BlobWriter, StoredResult
from reapi_local.store.writing import MemoryWriter


class MemoryStore:
    """A :class:`~reapi_local.store.types.BlobStore` without limit that forgets nothing."""

    def __init__(self) -> None:
        self.blobs: dict[Digest, bytes] = dict.fromkeys(EMPTY_BLOBS, b"")

    async def find_missing(self, digests: Sequence[Digest], run: str = "") -> list[Digest]:
        return [digest for digest in digests if digest not in self.blobs]

    async def read_many(self, digests: Sequence[Digest], run: str = "") -> Mapping[Digest, bytes]:
        return {digest: self.blobs[digest] for digest in digests if digest in self.blobs}

    async def write_many(self, blobs: Sequence[Blob], run: str = "") -> Mapping[Digest, ReapiError]:
        failures: dict[Digest, ReapiError] = {}
        for digest, data in blobs:
            try:
                await self._receive(digest, data)
            except ReapiError as error:
                failures[digest] = error
        return failures

    @asynccontextmanager
    async def open_read(
        self, digest: Digest, run: str = "", offset: int = 0, limit: int = 0
    ) -> AsyncIterator[BlobReader]:
        length = check_range(digest, offset, limit)
        if digest not in self.blobs:
            raise BlobNotFound(f"blob {digest} isn't in the store; upload it")
        yield BytesReader(self.blobs[digest][offset : offset + length])

    async def open_write(self, digest: Digest, run: str = "") -> BlobWriter:
        async def receive(data: bytes) -> None:
            await self._receive(digest, data)

        return MemoryWriter(digest, receive)

    async def _receive(self, digest: Digest, data: bytes) -> None:
        check_content(digest, data)
        self.blobs[digest] = data


class MemoryResults:
    """An :class:`~reapi_local.store.types.ActionCache` without limit that forgets nothing."""

    def __init__(self) -> None:
        self.results: dict[ActionKey, StoredResult] = {}

    async def get(self, key: ActionKey, run: str = "") -> StoredResult | None:
        return self.results.get(key)

    async def put(self, key: ActionKey, stored: StoredResult) -> None:
        self.results[key] = stored

    async def remove(self, key: ActionKey) -> None:
        self.results.pop(key, None)
