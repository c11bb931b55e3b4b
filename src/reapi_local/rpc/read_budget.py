"""Bounds the memory that all reads take together, however their clients read.

A message stays in memory until its client has room for it, so a client that doesn't read holds
it for as long as it likes. Therefore messages get smaller as more reads go on, and only so many
reads go on at once: others wait, and then the ones whose clients have taken nothing for
a while are ended.
"""

from __future__ import annotations

import asyncio
from collections import deque
from dataclasses import dataclass
from typing import Final

from reapi_local.clock import Clock, Timer

_MAX_READS: Final = 1024
_MIN_MESSAGE_BYTES: Final = 64 * 1024
_SHARED_BYTES: Final = 32 * 1024 * 1024
"""What messages may take together beyond that minimum."""
_PARTS: Final = 16
"""A message takes at most this part of what is free, and leaves the rest to others."""
_STALLED_SECONDS: Final = 10.0


@dataclass(eq=False, slots=True)
class Read:
    """A read that has begun."""

    task: asyncio.Task[object] | None
    since: float
    """When its client last took a message, in monotonic seconds."""
    shared_bytes: int = 0


class ReadBudget:
    """Shared by all reads of a server. Only for the thread of the event loop."""

    def __init__(self, clock: Clock, max_reads: int = _MAX_READS) -> None:
        self._clock = clock
        self._free_bytes = _SHARED_BYTES
        self._places = max_reads
        self._reads: dict[Read, None] = {}
        """The one whose client has taken nothing for the longest time comes first."""
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._timer: Timer | None = None

    async def begin(self) -> Read:
        """Begin a read when there is a place for it. :meth:`end` has to follow."""
        if self._places:
            self._places -= 1
        else:
            await self._place()
        read = Read(asyncio.current_task(), self._clock.monotonic())
        self._reads[read] = None
        return read

    def next_message(self, read: Read, max_bytes: int) -> int:
        """How large the next message may be; the client has taken the one before."""
        read.since = self._clock.monotonic()
        if self._reads.pop(read, read) is None:
            self._reads[read] = None
        free = self._free_bytes + read.shared_bytes
        read.shared_bytes = min(max_bytes - _MIN_MESSAGE_BYTES, free // _PARTS)
        self._free_bytes = free - read.shared_bytes
        return _MIN_MESSAGE_BYTES + read.shared_bytes

    def end(self, read: Read) -> None:
        """The read has ended, in whatever way."""
        self._reads.pop(read, None)
        self._free_bytes += read.shared_bytes
        self._give_place()

    async def _place(self) -> None:
        admitted = asyncio.get_running_loop().create_future()
        self._waiting.append(admitted)
        self._watch()
        try:
            await admitted
        except asyncio.CancelledError:
            if not admitted.cancelled():
                self._give_place()
            raise

    def _give_place(self) -> None:
        """Let the one begin that has waited longest."""
        while self._waiting:
            admitted = self._waiting.popleft()
            if not admitted.done():
                admitted.set_result(None)
                self._watch()
                return
        self._places += 1

    def _watch(self) -> None:
        """While reads wait, look at the most stalled one when it has been so for long."""
        if self._waiting and self._reads and self._timer is None:
            due = next(iter(self._reads)).since + _STALLED_SECONDS
            wait = max(0.0, due - self._clock.monotonic())
            self._timer = self._clock.call_later(wait, self._end_stalled)

    def _end_stalled(self) -> None:
        """End as many stalled reads as others wait."""
        self._timer = None
        long_ago = self._clock.monotonic() - _STALLED_SECONDS
        for read in list(self._reads)[: len(self._waiting)]:
            if read.since > long_ago:
                break
            del self._reads[read]
            if read.task is not None:
                read.task.cancel("its client took nothing, and other reads wait")
        self._watch()
