"""The blobs of a server as a blob store, for what makes input roots."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Final

import grpc

from reapi_contract.admin_api import StoreStatus
from reapi_local.client.connection import CallFailed, Connection
from reapi_local.context import Context
from reapi_local.errors import BlobNotFound, ReapiError, Unsupported
from reapi_local.protocol.digest import EMPTY_BLOBS, Digest, digest_of, parse_digest
from reapi_local.store.blob_store import Blob, BlobReader, BlobWriter

_MAX_BATCH_BYTES: Final = 1024 * 1024
_MAX_BATCH_BLOBS: Final = 1000
_MAX_FIND: Final = 10_000
_READ_ONLY: Final = "blobs of a server are only read here"


class RemoteBlobs:
    """A :class:`~reapi_local.store.blob_store.BlobStore` that can only be read.

    Blobs are read within the context of the connection; that of a call has no effect. Everything
    raises CallFailed.
    """

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    async def find_missing(self, context: Context, digests: Sequence[Digest]) -> list[Digest]:
        missing: list[Digest] = []
        for start in range(0, len(digests), _MAX_FIND):
            part = list(digests[start : start + _MAX_FIND])
            answer = await self._connection.find_missing(part)
            function = part[0].function
            missing += [parse_digest(one, function) for one in answer.missing_blob_digests]
        return missing

    async def read_many(
        self, context: Context, digests: Sequence[Digest]
    ) -> Mapping[Digest, bytes]:
        found: dict[Digest, bytes] = {one: b"" for one in digests if one in EMPTY_BLOBS}
        for batch in _batches([one for one in dict.fromkeys(digests) if one not in found]):
            if batch[0].size_bytes > _MAX_BATCH_BYTES:
                data = await self._read(batch[0])
                found.update({} if data is None else {batch[0]: data})
                continue
            for response in (await self._connection.read_batch(batch)).responses:
                if not response.status.code:
                    digest = parse_digest(response.digest, batch[0].function)
                    if digest_of(response.data, digest.function) == digest:
                        found[digest] = response.data
        return found

    async def _read(self, digest: Digest) -> bytes | None:
        try:
            data = b"".join([piece async for piece in self._connection.read_stream(digest, 0, 0)])
        except CallFailed as error:
            if error.status is grpc.StatusCode.NOT_FOUND:
                return None
            raise
        return data if digest_of(data, digest.function) == digest else None

    @asynccontextmanager
    async def open_read(
        self, context: Context, digest: Digest, offset: int = 0, limit: int = 0
    ) -> AsyncIterator[BlobReader]:
        yield _Reader(self._connection.read_stream(digest, offset, limit), digest)

    async def write_many(
        self, context: Context, blobs: Sequence[Blob]
    ) -> Mapping[Digest, ReapiError]:
        raise Unsupported(_READ_ONLY)

    async def open_write(self, context: Context, digest: Digest) -> BlobWriter:
        raise Unsupported(_READ_ONLY)

    def describe(self) -> StoreStatus:
        return StoreStatus()


class _Reader:
    """Reads a stream of messages in pieces of any size."""

    def __init__(self, stream: AsyncIterator[bytes], digest: Digest) -> None:
        self._stream, self._digest = stream, digest
        self._rest = b""

    async def read(self, max_bytes: int) -> bytes:
        try:
            while not self._rest:
                self._rest = await anext(self._stream)
        except StopAsyncIteration:
            return b""
        except CallFailed as error:
            if error.status is grpc.StatusCode.NOT_FOUND:
                raise BlobNotFound(self._digest) from error
            raise
        piece, self._rest = self._rest[:max_bytes], self._rest[max_bytes:]
        return piece


def _batches(digests: Sequence[Digest]) -> Iterator[list[Digest]]:
    """Batches whose contents fit into a message; a large blob is alone."""
    batch: list[Digest] = []
    batch_bytes = 0
    for digest in digests:
        is_full = len(batch) == _MAX_BATCH_BLOBS
        if batch and (is_full or batch_bytes + digest.size_bytes > _MAX_BATCH_BYTES):
            yield batch
            batch, batch_bytes = [], 0
        batch.append(digest)
        batch_bytes += digest.size_bytes
    if batch:
        yield batch
