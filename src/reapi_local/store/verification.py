"""Compares content with its digest. Every path that writes blobs uses this module."""

from __future__ import annotations

import os
from typing import Final

from reapi_local.errors import DigestMismatch
from reapi_local.protocol.digest import Digest, digest_of, make_digest, new_hasher
from reapi_local.threads import in_thread

_CHUNK_BYTES: Final = 1024 * 1024
_MAX_HASH_ON_LOOP_BYTES: Final = 256 * 1024
"""Longer content is hashed in a thread, because hashing releases the interpreter lock."""


def is_intact(digest: Digest, data: bytes) -> bool:
    """Whether ``data`` has this digest. For content that this server has stored."""
    return len(data) == digest.size_bytes and digest_of(data, digest.function) == digest


def check(digest: Digest, data: bytes) -> None:
    """Raise DigestMismatch unless ``data`` has this digest."""
    check_size(digest, len(data))
    _compare(digest, digest_of(data, digest.function))


def check_size(digest: Digest, length: int) -> None:
    """Raise DigestMismatch unless the whole content has the size in its digest."""
    if length != digest.size_bytes:
        raise DigestMismatch(
            f"blob {digest}: received {length} bytes, but the digest says {digest.size_bytes}; "
            "send the whole blob once"
        )


def check_length(digest: Digest, length: int) -> None:
    """Raise DigestMismatch if ``length`` is more than the digest says."""
    if length > digest.size_bytes:
        raise DigestMismatch(
            f"blob {digest}: received at least {length} bytes, but the digest says "
            f"{digest.size_bytes}; send the whole blob once"
        )


async def verify(digest: Digest, data: bytes) -> None:
    """:func:`check`, with long data in a thread."""
    if len(data) > _MAX_HASH_ON_LOOP_BYTES:
        await in_thread(check, digest, data)
    else:
        check(digest, data)


def is_file_intact(digest: Digest, fd: int) -> bool:
    """Whether an open file's content has this digest. Blocks."""
    hasher, offset = new_hasher(digest.function), 0
    while chunk := os.pread(fd, _CHUNK_BYTES, offset):
        hasher.update(chunk)
        offset += len(chunk)
    return make_digest(digest.function, hasher.digest(), offset) == digest


class ContentVerifier:
    """Verifies content that is received in pieces."""

    def __init__(self, digest: Digest) -> None:
        self._digest = digest
        self._hasher = new_hasher(digest.function)
        self._length = 0

    def expect(self, length: int) -> None:
        """Raise DigestMismatch if ``length`` more bytes are more than the digest says."""
        check_length(self._digest, self._length + length)

    def update(self, chunk: bytes) -> None:
        """Add the next piece. Blocks while it is hashed."""
        self._hasher.update(chunk)
        self._length += len(chunk)

    def finish(self) -> None:
        """Raise DigestMismatch unless all pieces together have the digest."""
        actual = make_digest(self._digest.function, self._hasher.digest(), self._length)
        _compare(self._digest, actual)


def _compare(expected: Digest, actual: Digest) -> None:
    if actual != expected:
        raise DigestMismatch(
            f"blob {expected}: the received bytes have the {actual.function.name} digest {actual}; "
            "hash exactly the bytes that are sent"
        )
