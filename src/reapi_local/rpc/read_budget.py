"""Bounds the memory that all reads take together, however their clients read.

A message stays in memory until its client has room for it, so a client that doesn't read holds
it for as long as it likes. Therefore messages get smaller as more reads go on, and only so many
reads have a place at once.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from reapi_local.clock import Clock
from reapi_local.rpc.places import Place, Places

_MIN_MESSAGE_BYTES: Final = 64 * 1024
_PARTS: Final = 16
"""A message takes at most this part of what is free, and leaves the rest to others."""


@dataclass(eq=False, slots=True)
class Read:
    """A read that has begun."""

    place: Place
    shared_bytes: int = 0


class ReadBudget:
    """Shared by all reads of a server. Only for the thread of the event loop.

    ``shared_bytes``: what messages may take together beyond 64 KiB for each read.
    """

    def __init__(self, clock: Clock, max_reads: int, shared_bytes: int) -> None:
        self.places = Places(clock, max_reads, "read")
        self._free_bytes = shared_bytes

    async def begin(self) -> Read:
        """Begin a read when there is a place for it. :meth:`end` has to follow."""
        return Read(await self.places.enter())

    def next_message(self, read: Read, max_bytes: int) -> int:
        """How large the next message may be; the client has taken the one before."""
        self.places.moved(read.place, _MIN_MESSAGE_BYTES)
        free = self._free_bytes + read.shared_bytes
        read.shared_bytes = min(max_bytes - _MIN_MESSAGE_BYTES, free // _PARTS)
        self._free_bytes = free - read.shared_bytes
        return _MIN_MESSAGE_BYTES + read.shared_bytes

    def end(self, read: Read) -> None:
        """The read has ended, in whatever way."""
        self._free_bytes += read.shared_bytes
        self.places.leave(read.place)
