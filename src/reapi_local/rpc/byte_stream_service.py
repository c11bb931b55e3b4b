"""The ByteStream service: one blob at a time, in pieces.

Source: google.bytestream; REAPI v2, ContentAddressableStorage, for the resource names.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from typing import Final

from reapi_local.clock import Clock
from reapi_local.context import Context
from reapi_local.errors import DigestMismatch, InvalidRequest, UploadNotFound, UploadUnderWay
from reapi_local.proto import bytestream_pb2
from reapi_local.protocol.resource_name import UploadName, parse_read_name, parse_write_name
from reapi_local.protocol.upload import WriteSequence
from reapi_local.rpc.partial_uploads import PartialUploads
from reapi_local.rpc.read_budget import ReadBudget
from reapi_local.store.blob_store import BlobStore, BlobWriter

_CHUNK_BYTES: Final = 1024 * 1024
"""Pants decodes messages of at most 4 MiB; less than 2 MiB is safe for all clients."""
_DATA_TAG: Final = bytes([bytestream_pb2.ReadResponse.DATA_FIELD_NUMBER << 3 | 2])
"""Field ``data``, with its length before it."""


class ByteStreamService:
    """Reads and writes of single blobs."""

    def __init__(self, blobs: BlobStore, clock: Clock) -> None:
        self._blobs = blobs
        self._active: dict[UploadName, WriteSequence] = {}
        self._partial = PartialUploads(clock)
        self._read_budget = ReadBudget(clock)

    async def close(self) -> None:
        """Drop partial uploads."""
        await self._partial.close()

    async def Read(
        self, request: bytestream_pb2.ReadRequest, context: Context
    ) -> AsyncGenerator[bytes, None]:
        """Send a blob, or ``read_limit`` bytes of it from ``read_offset``, in encoded messages."""
        name = parse_read_name(request.resource_name)
        read = await self._read_budget.begin()
        try:
            async with self._blobs.open_read(
                context, name.digest, request.read_offset, request.read_limit
            ) as reader:
                size = self._read_budget.next_message(read, _CHUNK_BYTES)
                while chunk := await reader.read(size):
                    message, chunk = _read_response(chunk), b""
                    yield message
                    size = self._read_budget.next_message(read, _CHUNK_BYTES)
        finally:
            self._read_budget.end(read)

    async def Write(
        self, requests: AsyncIterator[bytestream_pb2.WriteRequest], context: Context
    ) -> bytestream_pb2.WriteResponse:
        """Upload a blob. A blob that is stored already is acknowledged without reading the rest."""
        first = await anext(aiter(requests), None)
        if first is None:
            raise InvalidRequest("the call ended before its first message")
        name = parse_write_name(first.resource_name)
        done = bytestream_pb2.WriteResponse(committed_size=name.digest.size_bytes)
        if not await self._blobs.find_missing(context, [name.digest]):
            return done
        if name in self._active:
            raise UploadUnderWay(
                f"upload {name.upload} of {name.digest} is in progress in another call; resume it "
                "when that call has ended, or give each upload an identifier of its own"
            )
        committed = await self._partial.committed(name, first.write_offset)
        sequence = self._active[name] = WriteSequence(first.resource_name, name, committed)
        try:
            writer = self._partial.take(name) or await self._blobs.open_write(context, name.digest)
            await self._receive(writer, sequence, first, requests)
        finally:
            del self._active[name]
        return done

    async def _receive(
        self,
        writer: BlobWriter,
        sequence: WriteSequence,
        first: bytestream_pb2.WriteRequest,
        rest: AsyncIterator[bytestream_pb2.WriteRequest],
    ) -> None:
        try:
            message: bytestream_pb2.WriteRequest | None = first
            while message is not None:
                data = message.data
                sequence.accept(
                    message.resource_name, message.write_offset, len(data), message.finish_write
                )
                if data:
                    await writer.write(data)
                message = await anext(aiter(rest), None)
            sequence.end()
            await writer.commit()
        except (asyncio.CancelledError, InvalidRequest) as error:
            if not sequence.offset or sequence.finished or isinstance(error, DigestMismatch):
                await writer.discard()
            else:
                await self._partial.keep(sequence.name, writer, sequence.offset)
            raise
        except BaseException:
            await writer.discard()
            raise

    async def QueryWriteStatus(
        self, request: bytestream_pb2.QueryWriteStatusRequest, context: Context
    ) -> bytestream_pb2.QueryWriteStatusResponse:
        """How many bytes of an upload were received: the offset at which to resume it.

        Raises:
            UploadNotFound: no bytes are kept; begin at 0.
        """
        name = parse_write_name(request.resource_name)
        if not await self._blobs.find_missing(context, [name.digest]):
            return bytestream_pb2.QueryWriteStatusResponse(
                committed_size=name.digest.size_bytes, complete=True
            )
        active = self._active.get(name)
        committed = active.offset if active else self._partial.offset(name)
        if committed is None:
            raise UploadNotFound(
                f"no upload {name.upload} of {name.digest} is in progress here; begin at 0"
            )
        return bytestream_pb2.QueryWriteStatusResponse(committed_size=committed)


def _read_response(data: bytes) -> bytes:
    """A ReadResponse, encoded with one copy of its data: it may wait in memory for its client."""
    length, varint = len(data), bytearray()
    while length > 0x7F:
        varint.append(length & 0x7F | 0x80)
        length >>= 7
    varint.append(length)
    return b"".join((_DATA_TAG, varint, data))
