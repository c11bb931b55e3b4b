"""Zstandard, in which blobs may travel. Digests and the store know uncompressed bytes only.

Source: REAPI v2, ``Compressor`` and ContentAddressableStorage; RFC 8878 for the format.
"""

from __future__ import annotations

from typing import IO, Final, cast

import zstandard

from reapi_local.errors import DigestMismatch
from reapi_local.protocol.digest import Digest

MAX_WINDOW_BYTES: Final = 8 * 1024 * 1024
"""How far back a frame may refer, which a decoder has to keep in memory (RFC 8878, 3.1.1.1.2)."""

SHORT_BYTES: Final = 64 * 1024
"""So much is compressed, or decompressed, in a quarter of a millisecond."""

_PIECE_BYTES: Final = 1024 * 1024
_OUTPUT_BYTES: Final = 256 * 1024
"""Room for two blocks of 128 KiB (RFC 8878, 3.1.1.2.4)."""

MAX_PIECE_BYTES: Final = _PIECE_BYTES + _OUTPUT_BYTES
"""The most that a decoder returns at once."""

_LEVEL: Final = 1
"""The network is fast where this server is used, so the fastest level is the best one."""


class Decoder:
    """Decompresses a blob that arrives in pieces: any number of frames, cut anywhere.

    ``start``: where in the blob the first frame begins. ``decompressor``: one that no other decoder
    is using now; it is cheaper than a new one.
    """

    def __init__(
        self, digest: Digest, start: int = 0, decompressor: zstandard.ZstdDecompressor | None = None
    ) -> None:
        self._digest, self._offset = digest, start
        self._source = _Source()
        self._frames = (decompressor or new_decompressor()).stream_reader(
            cast("IO[bytes]", self._source), read_across_frames=True
        )
        self.needs_data = True
        """All data was used; :meth:`read` has nothing to return before there is more."""
        self.is_quick = False
        """Whether the next :meth:`read` takes less than half a millisecond. Else, some more."""

    def feed(self, data: bytes) -> None:
        """Add compressed bytes, when ``needs_data`` is set."""
        self._source.data = data
        self.needs_data = False
        self.is_quick = len(data) <= SHORT_BYTES

    def read(self) -> bytes:
        """The next bytes of the blob, at most ``MAX_PIECE_BYTES``.

        Raises:
            DigestMismatch: the data isn't zstd, or is more than the digest says.
        """
        pieces: list[bytes] = []
        end = self._offset + (SHORT_BYTES if self.is_quick else _PIECE_BYTES)
        self.is_quick = False
        while self._offset < end and not self.needs_data:
            room = min(_OUTPUT_BYTES, self._digest.size_bytes - self._offset + 1)
            try:
                piece = self._read(room)
            except zstandard.ZstdError as error:
                raise self._invalid(str(error)) from error
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
        try:
            while not self.needs_data:
                rest += self._read(_OUTPUT_BYTES)
        except zstandard.ZstdError:
            rest = b""
        if rest != _MARK:
            raise self._invalid("it ends within a frame")

    def _read(self, max_bytes: int) -> bytes:
        try:
            return self._frames.read1(max_bytes)
        except _NoMoreData:
            self.needs_data = True
            return b""

    def _invalid(self, why: str) -> DigestMismatch:
        return DigestMismatch(
            f"blob {self._digest}: the data can't be decompressed as zstd: {why}; send whole "
            f"frames, with windows of up to {MAX_WINDOW_BYTES} bytes, or send it uncompressed"
        )


class _NoMoreData(Exception):
    """The decoder has used all the data that there is so far."""


class _Source:
    """What the library reads compressed data from, in place of a file.

    The last byte comes by itself. The library may have kept back a part of a block, because its
    output was full. The last byte ends one more block at most, and then there is room for both.
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
