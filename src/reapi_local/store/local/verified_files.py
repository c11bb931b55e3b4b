"""Which large files were read and found intact since this server started."""

from __future__ import annotations

import os
from typing import Final

from cachetools import LRUCache

from reapi_local.protocol.digest import Digest
from reapi_local.store.verification import is_file_intact
from reapi_local.threads import in_thread

_MAX_ENTRIES: Final = 65_536

_FileState = tuple[int, int, int]


class VerifiedFiles:
    """Verifies a file at its first read, and again if it was changed since.

    Hashing at each read would cost more than the read; never hashing could serve corrupt data.
    """

    def __init__(self) -> None:
        self._states: LRUCache[Digest, _FileState] = LRUCache(_MAX_ENTRIES)

    async def is_intact(self, digest: Digest, fd: int) -> bool:
        """Whether the open file's content has this digest."""
        state = _state(fd)
        if state[0] != digest.size_bytes:
            return False
        if self._states.get(digest) == state:
            return True
        if not await in_thread(is_file_intact, digest, fd):
            return False
        self.remember(digest, fd)
        return True

    def remember(self, digest: Digest, fd: int) -> None:
        """Record that the open file was just verified."""
        self._states[digest] = _state(fd)


def _state(fd: int) -> _FileState:
    stat = os.fstat(fd)
    return stat.st_size, stat.st_mtime_ns, stat.st_ino
