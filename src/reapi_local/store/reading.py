"""Readers of a blob, or of a range of it, in pieces."""

from __future__ import annotations

import os
import sys
from typing import Final

from reapi_local.errors import OffsetOutOfRange
from reapi_local.protocol.digest import Digest
from reapi_local.store.blob_store import BlobReader
from reapi_local.threads import in_thread

_CHUNK_BYTES: Final = 1024 * 1024


async def read_to_end(reader: BlobReader) -> bytes:
    """All remaining bytes. One read may return fewer: only those in the page cache."""
    chunks = []
    while chunk := await reader.read(_CHUNK_BYTES):
        chunks.append(chunk)
    return b"".join(chunks)


class BytesReader:
    """Reads from memory."""

    def __init__(self, data: bytes) -> None:
        self._rest = memoryview(data)

    async def read(self, max_bytes: int) -> bytes:
        chunk, self._rest = self._rest[:max_bytes], self._rest[max_bytes:]
        return bytes(chunk)


class FileReader:
    """Reads from an open file, and closes it.

    The descriptor keeps the content readable if the file's generation is deleted meanwhile.
    """

    def __init__(self, fd: int, offset: int, length: int) -> None:
        self._fd = fd
        self._offset = offset
        self._end = offset + length

    async def read(self, max_bytes: int) -> bytes:
        length = min(max_bytes, self._end - self._offset)
        if length <= 0:
            return b""
        chunk = _read_cached(self._fd, length, self._offset)
        if chunk is None:
            chunk = await in_thread(os.pread, self._fd, length, self._offset)
        self._offset += len(chunk)
        return chunk

    def close(self) -> None:
        os.close(self._fd)


if sys.platform == "linux":

    def _read_cached(fd: int, length: int, offset: int) -> bytes | None:
        """The bytes in the page cache, without waiting for the disk; None if there are none."""
        buffer = bytearray(length)
        try:
            count = os.preadv(fd, [buffer], offset, os.RWF_NOWAIT)
        except OSError:  # not cached, or not supported by the file system
            return None
        return bytes(memoryview(buffer)[:count]) if count else None

else:

    def _read_cached(fd: int, length: int, offset: int) -> bytes | None:
        """Reading without waiting is possible only on Linux."""
        return None


def check_range(digest: Digest, offset: int, limit: int) -> int:
    """How many bytes a read covers (``limit`` 0 = to the end).

    Raises:
        OffsetOutOfRange: the offset is negative or beyond the end, or the limit is negative
            (google.bytestream, ``ReadRequest``).
    """
    if offset < 0 or limit < 0 or offset > digest.size_bytes:
        raise OffsetOutOfRange(
            f"blob {digest}: can't read {limit or 'all'} bytes from offset {offset}; "
            f"the blob has {digest.size_bytes} bytes"
        )
    rest = digest.size_bytes - offset
    return min(rest, limit) if limit else rest
