"""The ByteStream service: one blob at a time, in pieces.

Source: google.bytestream; REAPI v2, ContentAddressableStorage, for the resource names.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from functools import partial
from typing import Final

from reapi_local.clock import Clock
from reapi_local.context import Context
from reapi_local.errors import DigestMismatch, InvalidRequest, UploadNotFound, UploadUnderWay
from reapi_local.proto import bytestream_pb2
from reapi_local.protocol.resource_name import UploadName, parse_read_name, parse_write_name
from reapi_local.protocol.upload import WriteSequence
from reapi_local.protocol.zstd import MAX_WINDOW_BYTES
from reapi_local.rpc.late_writer import LateWriter
from reapi_local.rpc.partial_uploads import PartialUploads
from reapi_local.rpc.places import Places
from reapi_local.rpc.read_budget import ReadBudget
from reapi_local.store.blob_store import BlobStore, BlobWriter
from reapi_local.store.compressed import CompressingReader, next_piece

_CHUNK_BYTES: Final = 1024 * 1024
"""Pants decodes messages of at most 4 MiB; less than 2 MiB is safe for all clients."""
_DATA_TAG: Final = bytes([bytestream_pb2.ReadResponse.DATA_FIELD_NUMBER << 3 | 2])
"""Field ``data``, with its length before it."""

_READ_BYTES: Final = 64 * 1024
"""The least that a read takes: one message."""
_COMPRESSOR_BYTES: Final = 1536 * 1024
"""The most that a compressor takes."""
_UPLOAD_BYTES: Final = 8 * 1024 * 1024
"""What an upload takes: some copies of a message, on its way from the socket to the disk."""


class ByteStreamService:
    """Reads and writes of single blobs.

    ``memory_bytes``: what all calls may take together, of which reads and decoders get parts.
    """

    def __init__(self, blobs: BlobStore, clock: Clock, memory_bytes: int) -> None:
        self._blobs = blobs
        self._active: dict[UploadName, WriteSequence] = {}
        self._partial = PartialUploads(clock)
        shared = memory_bytes // 32
        self._read_budget = ReadBudget(clock, memory_bytes // 16 // _READ_BYTES, shared)
        self._compressed_read_budget = ReadBudget(
            clock, memory_bytes // 8 // _COMPRESSOR_BYTES, shared
        )
        self._uploads = Places(clock, memory_bytes // _UPLOAD_BYTES, "upload")
        self._decoders = Places(clock, memory_bytes // 4 // MAX_WINDOW_BYTES, "compressed upload")

    async def close(self) -> None:
        """Drop partial uploads."""
        await self._partial.close()

    async def Read(
        self, request: bytestream_pb2.ReadRequest, context: Context
    ) -> AsyncGenerator[bytes, None]:
        """Send a blob, or ``read_limit`` bytes of it from ``read_offset``, in encoded messages.

        The offset is always one in the uncompressed blob.
        """
        name = parse_read_name(request.resource_name)
        if name.is_compressed and request.read_limit:
            raise InvalidRequest(
                f"blob {name.digest}: read_limit can't be {request.read_limit} with "
                "compressed-blobs/; leave it at 0, and stop when you have enough"
            )
        budget = self._compressed_read_budget if name.is_compressed else self._read_budget
        read = await budget.begin()
        try:
            async with self._blobs.open_read(
                context, name.digest, request.read_offset, request.read_limit
            ) as reader:
                if name.is_compressed:
                    reader = CompressingReader(reader, name.digest.size_bytes - request.read_offset)
                while chunk := await reader.read(budget.next_message(read, _CHUNK_BYTES)):
                    message, chunk = _read_response(chunk), b""
                    yield message
        finally:
            budget.end(read)

    async def Write(
        self, requests: AsyncIterator[bytestream_pb2.WriteRequest], context: Context
    ) -> bytestream_pb2.WriteResponse:
        """Upload a blob. A blob that is stored already is acknowledged without reading the rest.

        ``committed_size``: of a compressed upload, the offset at which the last message ended, or
        -1 if the blob was stored already (REAPI v2, ContentAddressableStorage).
        """
        first = await anext(aiter(requests), None)
        if first is None:
            raise InvalidRequest("the call ended before its first message")
        name = parse_write_name(first.resource_name)
        if not await self._blobs.find_missing(context, [name.digest]):
            return bytestream_pb2.WriteResponse(
                committed_size=-1 if name.is_compressed else name.digest.size_bytes
            )
        if name in self._active:
            raise UploadUnderWay(
                f"upload {name.upload} of {name.digest} is in progress in another call; resume it "
                "when that call has ended, or give each upload an identifier of its own"
            )
        committed = await self._partial.committed(name, first.write_offset)
        sequence = WriteSequence(first.resource_name, name, committed)
        data = _accept(sequence, first)
        # A message is not kept while the next one is awaited, for which a client may take long.
        del first
        self._active[name] = sequence
        try:
            places = self._decoders if _needs_window(name) else self._uploads
            async with places.place() as place:
                moved = partial(places.moved, place)
                writer = self._partial.take(name) or LateWriter(
                    partial(self._blobs.open_write, context, name.digest)
                )
                receiving = self._receive(writer, sequence, data, requests, moved)
                del data
                await receiving
        finally:
            del self._active[name]
            sequence.decoder = None  # its window, which may be large, at once
        return bytestream_pb2.WriteResponse(committed_size=sequence.offset)

    async def _receive(
        self,
        writer: BlobWriter,
        sequence: WriteSequence,
        data: bytes,
        rest: AsyncIterator[bytestream_pb2.WriteRequest],
        moved: Callable[[int], None],
    ) -> None:
        """Write ``data``, which was accepted already, and what ``rest`` contains."""
        try:
            await _write(writer, sequence, data)
            del data
            async for message in rest:
                data = _accept(sequence, message)
                moved(len(data))
                await _write(writer, sequence, data)
                del message, data
            sequence.end()
            await writer.commit()
        except (asyncio.CancelledError, InvalidRequest) as error:
            if not sequence.received or sequence.finished or isinstance(error, DigestMismatch):
                await writer.discard()
            else:
                await self._partial.keep(sequence.name, writer, sequence.received)
            raise
        except BaseException:
            await writer.discard()
            raise

    async def QueryWriteStatus(
        self, request: bytestream_pb2.QueryWriteStatusRequest, context: Context
    ) -> bytestream_pb2.QueryWriteStatusResponse:
        """How many bytes of an upload were received: the offset at which to resume it.

        They are uncompressed bytes, also of a compressed upload, which goes on with a new frame.

        Raises:
            UploadNotFound: no bytes are kept; begin at 0.
        """
        name = parse_write_name(request.resource_name)
        if not await self._blobs.find_missing(context, [name.digest]):
            return bytestream_pb2.QueryWriteStatusResponse(
                committed_size=name.digest.size_bytes, complete=True
            )
        active = self._active.get(name)
        committed = active.received if active else self._partial.offset(name)
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


def _needs_window(name: UploadName) -> bool:
    """Whether decompression needs more memory than the messages do."""
    return name.is_compressed and name.digest.size_bytes > _CHUNK_BYTES


def _accept(sequence: WriteSequence, message: bytestream_pb2.WriteRequest) -> bytes:
    """The data of the next message; raises as the sequence does."""
    data = message.data  # each access makes a copy
    sequence.accept(message.resource_name, message.write_offset, len(data), message.finish_write)
    return data


async def _write(writer: BlobWriter, sequence: WriteSequence, data: bytes) -> None:
    decoder = sequence.decoder
    if not data:
        return
    if decoder is None:
        await writer.write(data)
        return
    decoder.feed(data)
    while not decoder.needs_data:
        piece = await next_piece(decoder)
        sequence.received += len(piece)
        await writer.write(piece)
