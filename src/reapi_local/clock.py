"""Clocks and timers behind one interface, so that tests set the time and needn't wait."""

from __future__ import annotations

import asyncio
import heapq
import time
from collections.abc import Callable
from itertools import count
from typing import Protocol


class Timer(Protocol):
    """A call that is due later."""

    def cancel(self) -> None:
        """Don't make the call. A no-op if the call was made or cancelled before."""


class Clock(Protocol):
    """Wall-clock time, monotonic time and timers, all in seconds."""

    def now(self) -> float:
        """Seconds since the epoch: for people and records."""

    def monotonic(self) -> float:
        """Seconds that never go back: for durations and deadlines."""

    def call_later(self, seconds: float, call: Callable[[], object]) -> Timer:
        """Make the call on the running event loop after ``seconds``."""


async def set_within(event: asyncio.Event, seconds: float, clock: Clock) -> bool:
    """Wait for ``event``, at most ``seconds`` of that clock; returns whether it is set."""
    if event.is_set() or seconds <= 0:
        return event.is_set()
    expired: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def expire() -> None:
        if not expired.done():
            expired.set_result(None)

    timer = clock.call_later(seconds, expire)
    waiting = asyncio.ensure_future(event.wait())
    try:
        await asyncio.wait((waiting, expired), return_when=asyncio.FIRST_COMPLETED)
    finally:
        timer.cancel()
        waiting.cancel()
        expired.cancel()
    return event.is_set()


class SystemClock:
    """The machine's clocks, and the event loop's timers."""

    # Not methods that call them: each gRPC call reads the time several times.
    now = staticmethod(time.time)
    monotonic = staticmethod(time.monotonic)

    def call_later(self, seconds: float, call: Callable[[], object]) -> Timer:
        return asyncio.get_running_loop().call_later(seconds, call)


class ManualClock:
    """A clock for tests: its time changes only by :meth:`advance`."""

    def __init__(self, now: float = 1_700_000_000.0) -> None:
        self._now = now
        self._monotonic = 0.0
        self._numbers = count()
        self._timers: list[tuple[float, int, _ManualTimer]] = []

    def now(self) -> float:
        return self._now

    def monotonic(self) -> float:
        return self._monotonic

    def call_later(self, seconds: float, call: Callable[[], object]) -> Timer:
        timer = _ManualTimer(call)
        due = self._monotonic + max(0.0, seconds)
        heapq.heappush(self._timers, (due, next(self._numbers), timer))
        return timer

    @property
    def timers(self) -> int:
        """How many calls are due later."""
        return sum(not timer.is_cancelled for _, _, timer in self._timers)

    def advance(self, seconds: float) -> None:
        """Let ``seconds`` pass; each call is made when its time has come, not at the end."""
        end = self._monotonic + seconds
        while self._timers and self._timers[0][0] <= end:
            due, _, timer = heapq.heappop(self._timers)
            self._pass(max(0.0, due - self._monotonic))
            timer.fire()
        self._pass(end - self._monotonic)

    def _pass(self, seconds: float) -> None:
        self._now += seconds
        self._monotonic += seconds


class _ManualTimer:
    def __init__(self, call: Callable[[], object]) -> None:
        self._call = call
        self.is_cancelled = False

    def cancel(self) -> None:
        self.is_cancelled = True

    def fire(self) -> None:
        if not self.is_cancelled:
            self.is_cancelled = True
            self._call()
