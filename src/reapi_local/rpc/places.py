"""Few at once: reads and uploads that take memory have places, and who stalls leaves his to others.

A client that neither takes nor sends anything holds what its call takes for as long as it likes.
Therefore, while others wait for a place, the calls that have not moved for a while are ended.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Final

from reapi_local.clock import Clock, Timer
from reapi_local.errors import Stalled

_STALLED_SECONDS: Final = 10.0
_MOVE_BYTES: Final = 64 * 1024
"""Less than that in ``_STALLED_SECONDS`` is not moving."""


@dataclass(eq=False, slots=True)
class Place:
    """A call that has its place."""

    task: asyncio.Task[object] | None
    since: float
    """When it last moved, in monotonic seconds."""
    bytes_since: int = 0
    has_stalled: bool = False
    """It was ended, because others waited."""


class Places:
    """``number`` of them, for calls that do ``what``. Only for the thread of the event loop."""

    def __init__(self, clock: Clock, number: int, what: str) -> None:
        self._clock, self._free, self._what = clock, number, what
        self._taken: dict[Place, None] = {}
        """The one that has not moved for the longest time comes first."""
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._ending = 0
        """How many were ended and have not left yet; their places are for some that wait."""
        self._timer: Timer | None = None

    @property
    def waiting(self) -> int:
        """How many wait for a place."""
        return len(self._waiting)

    @asynccontextmanager
    async def place(self) -> AsyncIterator[Place]:
        """A place for this task.

        Raises:
            Stalled: in the block, instead of the cancellation that ended it.
        """
        place = await self.enter()
        try:
            yield place
        except asyncio.CancelledError:
            if not place.has_stalled or place.task is None:
                raise
            place.task.uncancel()
            raise Stalled(
                f"the {self._what} stood still for {_STALLED_SECONDS:g} seconds while others "
                "waited; resume it"
            ) from None
        finally:
            self.leave(place)

    async def enter(self) -> Place:
        """Take a place, when there is one. :meth:`leave` has to follow."""
        if self._free:
            self._free -= 1
        else:
            await self._admission()
        place = Place(asyncio.current_task(), self._clock.monotonic())
        self._taken[place] = None
        return place

    def moved(self, place: Place, byte_count: int) -> None:
        """The client has taken or sent so many bytes."""
        place.bytes_since += byte_count
        if place.bytes_since < _MOVE_BYTES:
            return
        place.bytes_since, place.since = 0, self._clock.monotonic()
        if self._taken.pop(place, place) is None:
            self._taken[place] = None

    def leave(self, place: Place) -> None:
        """The call has ended, in whatever way."""
        self._taken.pop(place, None)
        self._ending -= place.has_stalled
        self._give()

    async def _admission(self) -> None:
        admitted = asyncio.get_running_loop().create_future()
        self._waiting.append(admitted)
        self._watch()
        try:
            await admitted
        except asyncio.CancelledError:
            if not admitted.cancelled():
                self._give()
            raise

    def _give(self) -> None:
        """Let the one in that has waited longest."""
        while self._waiting:
            admitted = self._waiting.popleft()
            if not admitted.done():
                admitted.set_result(None)
                self._watch()
                return
        self._free += 1

    def _watch(self) -> None:
        """While some wait, look at the most stalled one when it has been so for long."""
        if len(self._waiting) > self._ending and self._taken and self._timer is None:
            due = next(iter(self._taken)).since + _STALLED_SECONDS
            wait = max(0.0, due - self._clock.monotonic())
            self._timer = self._clock.call_later(wait, self._end_stalled)

    def _end_stalled(self) -> None:
        """End as many stalled ones as others wait."""
        self._timer = None
        long_ago = self._clock.monotonic() - _STALLED_SECONDS
        for place in list(self._taken)[: max(0, len(self._waiting) - self._ending)]:
            if place.since > long_ago:
                break
            del self._taken[place]
            place.has_stalled = True
            self._ending += 1
            if place.task is not None:
                place.task.cancel(f"its {self._what} stood still, and others wait")
        self._watch()
