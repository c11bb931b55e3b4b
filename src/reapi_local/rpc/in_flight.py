"""One budget of memory for all that is under way: requests, uploads, and answers not yet taken.

Most of it is held by the transports, which neither bound nor tell it. Therefore it is not counted
but measured, as what the process takes more than when it is idle; a guard does so all the time.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

from reapi_local.errors import Busy
from reapi_local.threads import LONG_BYTES

_MIB: Final = 1024 * 1024

TURN_BYTES: Final = 4 * _MIB
"""Requests that are longer are handled one after the other, and small ones in between."""

_LARGEST_BYTES: Final = 64 * _MIB
"""Pants puts all digests into one FindMissingBlobs; 200,000 digests take 14 MB."""
_DECODED: Final = 40
"""A request takes up to that many times its length when it is decoded: if it consists of empty
submessages of two bytes."""


class InFlight:
    """How much memory is in use for what is under way, and how much may be."""

    def __init__(self, limit_bytes: int) -> None:
        self.limit_bytes = limit_bytes
        self.refuse_bytes = limit_bytes * 3 // 4
        """Beyond this, messages that take much are refused; the rest is for those that began."""
        self.largest_bytes = min(_LARGEST_BYTES, max(TURN_BYTES, limit_bytes // _DECODED))
        """The longest message. There is memory for it however it is made."""
        self.used_bytes = 0
        """As it was measured last. Stays 0 where it can't be measured."""
        self.handed_over: dict[str, int] = {}
        """Bytes of long answers that a transport got since the guard looked, for each peer."""
        self._turn = asyncio.Lock()
        self._queued_bytes = 0

    def check(self, message_bytes: int) -> None:
        """Raise Busy if a message of that length is too much now."""
        if message_bytes > LONG_BYTES and self.used_bytes > self.refuse_bytes:
            raise self._busy(self.used_bytes)

    @asynccontextmanager
    async def turn(self, message_bytes: int) -> AsyncIterator[None]:
        """Within it, no other request of more than ``TURN_BYTES`` is handled.

        Raises:
            Busy: there is no memory for it, or for so many that wait.
        """
        self.check(message_bytes)
        queued = self._queued_bytes + message_bytes
        if self._queued_bytes and queued > self.limit_bytes // 4:
            raise self._busy(queued)
        self._queued_bytes += message_bytes
        try:
            async with self._turn:
                taken = self.used_bytes + message_bytes * _DECODED
                if taken > self.limit_bytes and self.used_bytes > self.limit_bytes // 8:
                    raise self._busy(self.used_bytes)
                yield
        finally:
            self._queued_bytes -= message_bytes

    def _busy(self, taken_bytes: int) -> Busy:
        return Busy(
            f"requests and answers that are under way take {taken_bytes // _MIB} MiB of the "
            f"server's memory, of {self.limit_bytes // _MIB} MiB for all (setting in_flight); try "
            "again a little later"
        )

    def hand_over(self, peer: str, message_bytes: int) -> None:
        """Note that a transport holds so much now until that peer takes it."""
        self.handed_over[peer] = self.handed_over.get(peer, 0) + message_bytes
