"""Which large files were proved to hold what their names say since this server started."""

from __future__ import annotations

import os
from typing import Final

from reapi_local.protocol.digest import Digest, make_digest, new_hasher
from reapi_local.threads import in_thread

_MAX_ENTRIES: Final = 65_536
_CHUNK_BYTES: Final = 1024 * 1024


class VerifiedFiles:
    """Proves a file at its first read, and again when the file was touched since.

    Hashing at each read would cost more than the read; never hashing would serve what a bad disk
    made of it.
    """

    def __init__(self) -> None:
        self._states: dict[Digest, tuple[int, int, int]] = {}

    async def is_sound(self, digest: Digest, fd: int) -> bool:
        """Whether the open file's content is what ``digest`` names."""
        state = _state(fd)
        if state[0] != digest.size_bytes:
            return False
        if self._states.get(digest) == state:
            return True
        if not await in_thread(_has_content, digest, fd):
            return False
        self.remember(digest, fd)
        return True

    def remember(self, digest: Digest, fd: int) -> None:
        """Note that the open file was just proved."""
        if len(self._states) >= _MAX_ENTRIES:
            self._states.pop(next(iter(self._states)))
        self._states[digest] = _state(fd)


def _state(fd: int) -> tuple[int, int, int]:
    stat = os.fstat(fd)
    return stat.st_size, stat.st_mtime_ns, stat.st_ino


def _has_content(digest: Digest, fd: int) -> bool:
    hasher, offset = new_hasher(digest.function), 0
    while chunk := os.pread(fd, _CHUNK_BYTES, offset):
        hasher.update(chunk)
        offset += len(chunk)
    return make_digest(digest.function, hasher.digest(), offset) == digest
