"""Time behind one seam, so that a test can say what time it is."""

from __future__ import annotations

import time
from typing import Protocol


class Clock(Protocol):
    """Source of both kinds of time, in seconds."""

    def now(self) -> float:
        """Seconds since the epoch: for people and records."""

    def monotonic(self) -> float:
        """Seconds that never go back: for durations and deadlines."""


class SystemClock:
    """The machine's clocks."""

    def now(self) -> float:
        return time.time()

    def monotonic(self) -> float:
        return time.monotonic()


class ManualClock:
    """A clock that stands still until it is told to advance."""

    def __init__(self, now: float = 1_700_000_000.0) -> None:
        self._now = now
        self._monotonic = 0.0

    def now(self) -> float:
        return self._now

    def monotonic(self) -> float:
        return self._monotonic

    def advance(self, seconds: float) -> None:
        """Let ``seconds`` pass on both clocks at once."""
        self._now += seconds
        self._monotonic += seconds
