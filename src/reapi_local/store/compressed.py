"""Blobs in their zstd form. What takes long runs in threads; zstd releases the interpreter lock."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Final, TypeVar

from reapi_local.errors import DigestMismatch
from reapi_local.protocol.digest import Digest
from reapi_local.protocol.zstd import (
    SHORT_BYTES,
    Decoder,
    decompress,
    new_compressor,
    new_decompressor,
)
from reapi_local.store.blob_store import Blob, BlobReader
from reapi_local.threads import in_thread

_BYTES_PER_BLOB: Final = 8 * 1024
"""Handling a blob in a batch costs about as much as compressing that many bytes."""

_A = TypeVar("_A")
_T = TypeVar("_T")


class CompressingReader:
    """Reads the compressed form, one frame, of what a reader reads: the next ``length`` bytes."""

    def __init__(self, reader: BlobReader, length: int) -> None:
        self._reader = reader
        self._frame = new_compressor().compressobj(size=length)
        self._at_end = False

    async def read(self, max_bytes: int) -> bytes:
        """The compressed form of some more bytes, at most ``max_bytes``; b"" only at the end."""
        while not self._at_end:
            chunk = await self._reader.read(max_bytes)
            if not chunk:
                self._at_end = True
                compressed = self._frame.flush()
            elif len(chunk) > SHORT_BYTES:
                compressed = await in_thread(self._frame.compress, chunk)
            else:
                compressed = self._frame.compress(chunk)
            if compressed:  # else the compressor waits for a whole block
                return compressed
        return b""


async def next_piece(decoder: Decoder) -> bytes:
    """:meth:`Decoder.read`, which raises likewise."""
    return decoder.read() if decoder.is_quick else await in_thread(decoder.read)


async def decompress_all(blobs: Sequence[Blob]) -> list[bytes | DigestMismatch]:
    """The content of each blob, which is given by its compressed form, or what is wrong with it."""
    work_bytes = sum(len(data) + digest.size_bytes for digest, data in blobs)
    return await _call(_decompress_all, blobs, work_bytes + len(blobs) * _BYTES_PER_BLOB)


async def compress_where_smaller(blobs: Mapping[Digest, bytes]) -> dict[Digest, bytes]:
    """The compressed forms of those blobs that are larger than these."""
    work_bytes = sum(map(len, blobs.values()))
    return await _call(_compress_where_smaller, blobs, work_bytes + len(blobs) * _BYTES_PER_BLOB)


async def _call(function: Callable[[_A], _T], argument: _A, work_bytes: int) -> _T:
    if work_bytes > SHORT_BYTES:
        return await in_thread(function, argument)
    return function(argument)


def _decompress_all(blobs: Sequence[Blob]) -> list[bytes | DigestMismatch]:
    decompressor = new_decompressor()
    contents: list[bytes | DigestMismatch] = []
    for digest, data in blobs:
        try:
            contents.append(decompress(digest, data, decompressor))
        except DigestMismatch as error:
            contents.append(error)
    return contents


def _compress_where_smaller(blobs: Mapping[Digest, bytes]) -> dict[Digest, bytes]:
    compressor = new_compressor()
    forms = ((digest, data, compressor.compress(data)) for digest, data in blobs.items())
    return {digest: form for digest, data, form in forms if len(form) < len(data)}
