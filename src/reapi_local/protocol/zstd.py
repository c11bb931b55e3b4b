"""Zstandard, in which blobs may travel. Digests and the store know uncompressed bytes only.

Source: REAPI v2, ``Compressor`` and ContentAddressableStorage; RFC 8878 for the format.
"""

from __future__ import annotations

from typing import IO, Final, cast

import zstandard

from reapi_local.errors import DigestMismatch
from reapi_local.protocol.digest import Digest

PIECE_BYTES: Final = 1024 * 1024
"""A decoder returns a blob in pieces of about this size."""

MAX_WINDOW_BYTES: Final = 8 * 1024 * 1024
"""How far back a frame may refer, which a decoder has to keep in memory (RFC 8878, 3.1.1.1.2)."""

SHORT_BYTES: Final = 128 * 1024
"""So much is compressed or decompressed in half a millisecond."""

_LEVEL: Final = 1
"""The network is fast where this server is used, so the fastest level is the best one."""


class Decoder:
    """Decompresses a blob that arrives in pieces: any number of frames, cut anywhere.

    ``start``: where in the blob the first frame begins. ``decompressor``: one that no other decoder
    is using now; it is cheaper than a new one. :meth:`read` blocks for some milliseconds.
    """

    def __init__(
        self, digest: Digest, start: int = 0, decompressor: zstandard.ZstdDecompressor | None = None
    ) -> None:
        self._digest, self._offset = digest, start
        self._fed_bytes = 0
        self._source = _Source()
        self._frames = (decompressor or new_decompressor()).stream_reader(
            cast("IO[bytes]", self._source), read_across_frames=True
        )
        self.needs_data = True

    def feed(self, data: bytes) -> None:
        """Add compressed bytes, when ``needs_data`` says that the earlier ones are used up."""
        self._source.data = data
        self._fed_bytes = len(data)
        self.needs_data = False

    @property
    def is_quick(self) -> bool:
        """Whether :meth:`read` takes less than half a millisecond."""
        return self._fed_bytes + self._digest.size_bytes - self._offset <= SHORT_BYTES

    def read(self) -> bytes:
        """The next bytes of the blob, less than ``2 * PIECE_BYTES``; maybe sets ``needs_data``.

        Raises:
            DigestMismatch: the data isn't zstd, or is more than the digest says.
        """
        pieces: list[bytes] = []
        end = self._offset + PIECE_BYTES
        while self._offset < end and not self.needs_data:
            piece = self._read(min(PIECE_BYTES, self._digest.size_bytes - self._offset + 1))
            self._offset += len(piece)
            if self._offset > self._digest.size_bytes:
                raise DigestMismatch(
                    f"blob {self._digest}: decompressed to at least {self._offset} bytes, but the "
                    f"digest says {self._digest.size_bytes}; a digest is of the uncompressed bytes"
                )
            pieces.append(piece)
        return b"".join(pieces)

    def finish(self) -> None:
        """All data was added and read.

        Raises:
            DigestMismatch: the data ends within a frame.
        """
        # The library doesn't tell where it is in a frame. But only after a whole one it takes
        # another frame for what it is.
        self.feed(_MARK_FRAME)
        rest = b""
        while not self.needs_data:
            rest += self._read(PIECE_BYTES)
        if rest != _MARK:
            raise self._invalid("the data ends within a frame")

    def _read(self, max_bytes: int) -> bytes:
        try:
            return self._frames.read1(max_bytes)
        except _NoMoreData:
            self.needs_data = True
            return b""
        except zstandard.ZstdError as error:
            raise self._invalid(str(error)) from error

    def _invalid(self, why: str) -> DigestMismatch:
        return DigestMismatch(
            f"blob {self._digest}: the data can't be decompressed as zstd ({why}); send whole "
            f"frames, with windows of up to {MAX_WINDOW_BYTES} bytes, or send it uncompressed"
        )


class _NoMoreData(Exception):
    """The decoder has used all the data that there is so far."""


class _Source:
    """What the library reads compressed data from, in place of a file.

    The last byte comes by itself: it ends one block at most, so the library, which may have filled
    its output with what came before, returns all the rest and keeps nothing back.
    """

    def __init__(self) -> None:
        self.data = b""

    def read(self, _size: int) -> bytes | memoryview:
        if not self.data:
            raise _NoMoreData
        data, self.data = self.data, b""
        if len(data) == 1:
            return data
        self.data = data[-1:]
        return memoryview(data)[:-1]


def new_decompressor() -> zstandard.ZstdDecompressor:
    """A decompressor for decoders, one after the other."""
    return zstandard.ZstdDecompressor(max_window_size=MAX_WINDOW_BYTES)


def new_compressor() -> zstandard.ZstdCompressor:
    """A compressor for whole blobs (``compress``) or streams (``compressobj``)."""
    return zstandard.ZstdCompressor(level=_LEVEL)


def decompress(
    digest: Digest, data: bytes, decompressor: zstandard.ZstdDecompressor | None = None
) -> bytes:
    """The blob whose compressed form is ``data``, never more bytes than the digest says.

    Its content isn't verified. ``decompressor`` as for :class:`Decoder`.

    Raises:
        DigestMismatch: the data isn't zstd, ends within a frame, or is longer than the digest says.
    """
    decoder = Decoder(digest, 0, decompressor)
    decoder.feed(data)
    blob = b""
    while not decoder.needs_data:
        blob += decoder.read()
    decoder.finish()
    return blob


_MARK: Final = b"end"
_MARK_FRAME: Final = zstandard.ZstdCompressor(write_checksum=True).compress(_MARK)
