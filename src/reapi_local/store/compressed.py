"""Blobs in their zstd form. What takes long runs in threads; zstd releases the interpreter lock."""

from __future__ import annotations

from reapi_local.protocol.zstd import SHORT_BYTES, Decoder, new_compressor
from reapi_local.store.blob_store import BlobReader
from reapi_local.threads import in_thread


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
