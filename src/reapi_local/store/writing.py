"""Writers of a blob, which is invisible until its content is verified."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Awaitable, Callable
from contextlib import suppress

from reapi_local.protocol.digest import Digest
from reapi_local.store.disk_errors import disk_errors
from reapi_local.store.verification import ContentVerifier, check_length, verify
from reapi_local.threads import in_thread, to_the_end


class MemoryWriter:
    """For blobs that are small enough for memory; ``receive`` stores the verified bytes."""

    def __init__(self, digest: Digest, receive: Callable[[bytes], Awaitable[None]]) -> None:
        self._digest, self._receive = digest, receive
        self._data = bytearray()

    async def write(self, chunk: bytes) -> None:
        check_length(self._digest, len(self._data) + len(chunk))
        self._data += chunk

    async def commit(self) -> None:
        data = bytes(self._data)
        await verify(self._digest, data)
        await self._receive(data)

    async def discard(self) -> None:
        self._data.clear()


class FileWriter:
    """For large blobs: writes a temporary file in ``directory`` and hashes it meanwhile.

    ``receive(fd, path)`` moves the verified and synced file into the store. ``release`` is called
    once at the end, also after a failure.
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
        self._receive, self._release, self._durable = receive, release, durable
        self._verifier = ContentVerifier(digest)
        with disk_errors():
            self._fd, self._path = tempfile.mkstemp(dir=directory)

    async def write(self, chunk: bytes) -> None:
        self._verifier.expect(len(chunk))
        await in_thread(self._append, chunk)

    def _append(self, chunk: bytes) -> None:
        self._verifier.update(chunk)
        write_all(self._fd, chunk)

    async def commit(self) -> None:
        await to_the_end(self._commit())

    async def _commit(self) -> None:
        try:
            self._verifier.finish()
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


def write_all(fd: int, data: bytes) -> None:
    """Write every byte; raises StorageFull if the disk is full."""
    rest = memoryview(data)
    with disk_errors():
        while rest:
            rest = rest[os.write(fd, rest) :]


def _sync(fd: int) -> None:
    with disk_errors():
        os.fsync(fd)
