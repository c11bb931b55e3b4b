"""Content is compared with its digest here, and nowhere else: every write path uses it."""

from __future__ import annotations

import os
from typing import Final

from reapi_local.errors import DigestMismatch
from reapi_local.protocol.digest import Digest, digest_of, make_digest, new_hasher
from reapi_local.threads import in_thread

_CHUNK_BYTES: Final = 1024 * 1024
_INLINE_HASH_BYTES: Final = 256 * 1024
"""Longer content is hashed in a thread: hashing gives up the interpreter lock."""


def is_intact(digest: Digest, data: bytes) -> bool:
    """Whether ``data`` is what ``digest`` names. For content that this server has stored."""
    return len(data) == digest.size_bytes and digest_of(data, digest.function) == digest


def check(digest: Digest, data: bytes) -> None:
    """Raise DigestMismatch unless ``data`` is what ``digest`` names."""
    if len(data) != digest.size_bytes:
        raise DigestMismatch(
            f"blob {digest}: {len(data)} bytes came, the digest announces {digest.size_bytes}; "
            "send the whole blob, once"
        )
    _compare(digest, digest_of(data, digest.function))


def check_length(digest: Digest, length: int) -> None:
    """Raise DigestMismatch if so many bytes are more than the digest announces."""
    if length > digest.size_bytes:
        raise DigestMismatch(
            f"blob {digest}: at least {length} bytes came, the digest announces {digest.size_bytes}"
        )


async def verify(digest: Digest, data: bytes) -> None:
    """:func:`check`, with long data in a thread."""
    if len(data) > _INLINE_HASH_BYTES:
        await in_thread(check, digest, data)
    else:
        check(digest, data)


def is_file_intact(digest: Digest, fd: int) -> bool:
    """Whether an open file's content is what ``digest`` names. Blocks."""
    hasher, offset = new_hasher(digest.function), 0
    while chunk := os.pread(fd, _CHUNK_BYTES, offset):
        hasher.update(chunk)
        offset += len(chunk)
    return make_digest(digest.function, hasher.digest(), offset) == digest


class ContentVerifier:
    """Verifies content that comes in pieces."""

    def __init__(self, digest: Digest) -> None:
        self._digest = digest
        self._hasher = new_hasher(digest.function)
        self._length = 0

    def expect(self, length: int) -> None:
        """Raise DigestMismatch if so many bytes more are more than the digest announces."""
        check_length(self._digest, self._length + length)

    def update(self, chunk: bytes) -> None:
        """Take the next piece. Blocks for as long as hashing takes."""
        self._hasher.update(chunk)
        self._length += len(chunk)

    def finish(self) -> None:
        """Raise DigestMismatch unless all the pieces together are what the digest names."""
        actual = make_digest(self._digest.function, self._hasher.digest(), self._length)
        _compare(self._digest, actual)


def _compare(announced: Digest, actual: Digest) -> None:
    if actual != announced:
        raise DigestMismatch(
            f"blob {announced}: the bytes that came have the {actual.function.name} digest "
            f"{actual}; hash exactly the bytes that are sent"
        )
