"""Writers: a blob coming in, held apart until its content is proved."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Final

from reapi_local.errors import DigestMismatch
from reapi_local.protocol.digest import (
    Digest,
    check_content,
    make_digest,
    mismatch,
    new_hasher,
)
from reapi_local.store.disk_errors import disk_errors
from reapi_local.threads import in_thread, to_the_end

_INLINE_HASH_BYTES: Final = 256 * 1024


class MemoryWriter:
    """For blobs small enough to be held in memory; ``receive`` verifies and stores the bytes."""

    def __init__(self, digest: Digest, receive: Callable[[bytes], Awaitable[None]]) -> None:
        self._digest, self._receive = digest, receive
        self._data = bytearray()

    async def write(self, chunk: bytes) -> None:
        check_room(self._digest, len(self._data) + len(chunk))
        self._data += chunk

    async def commit(self) -> None:
        await self._receive(bytes(self._data))

    async def discard(self) -> None:
        self._data.clear()


class FileWriter:
    """For large blobs: a temporary file in ``directory``, hashed as it grows.

    ``receive(fd, path)`` moves the proved and synced file into the store. ``release`` is called
    once at the end, whatever the outcome.
    """

    def __init__(
        self,
        digest: Digest,
        directory: str,
        *,
        receive: Callable[[int, str], Awaitable[None]],
        release: Callable[[], None],
        durable: bool,
    ) -> None:
        self._digest, self._receive, self._release = digest, receive, release
        self._durable = durable
        self._hasher = new_hasher(digest.function)
        self._length = 0
        with disk_errors():
            self._fd, self._path = tempfile.mkstemp(dir=directory)

    async def write(self, chunk: bytes) -> None:
        check_room(self._digest, self._length + len(chunk))
        await in_thread(self._append, chunk)

    def _append(self, chunk: bytes) -> None:
        self._hasher.update(chunk)
        write_all(self._fd, chunk)
        self._length += len(chunk)

    async def commit(self) -> None:
        await to_the_end(self._commit())

    async def _commit(self) -> None:
        try:
            actual = make_digest(self._digest.function, self._hasher.digest(), self._length)
            if actual != self._digest:
                raise mismatch(self._digest, actual)
            if self._durable:
                await in_thread(_sync, self._fd)
            await self._receive(self._fd, self._path)
        finally:
            await self.discard()

    async def discard(self) -> None:
        if self._fd < 0:
            return
        fd, self._fd = self._fd, -1
        try:
            os.close(fd)
            with suppress(FileNotFoundError):  # a commit moved it into place
                os.unlink(self._path)
        finally:
            self._release()


def check_room(digest: Digest, length: int) -> None:
    """Raise DigestMismatch when more bytes came than the digest announces."""
    if length > digest.size_bytes:
        raise DigestMismatch(
            f"blob {digest}: at least {length} bytes came, the digest announces {digest.size_bytes}"
        )


async def verify(digest: Digest, data: bytes) -> None:
    """Raise DigestMismatch unless ``data`` is what ``digest`` names; long data in a thread."""
    if len(data) > _INLINE_HASH_BYTES:
        await in_thread(check_content, digest, data)
    else:
        check_content(digest, data)


def write_all(fd: int, data: bytes) -> None:
    """Write every byte; raises StorageFull when the disk takes no more."""
    rest = memoryview(data)
    with disk_errors():
        while rest:
            rest = rest[os.write(fd, rest) :]


def _sync(fd: int) -> None:
    with disk_errors():
        os.fsync(fd)
