"""How much one step of the event loop does: counted in calls, so no machine is too slow for it."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

_STEP = asyncio.Handle._run.__code__


class Steps:
    """``longest``: the most calls of functions between two turns of the event loop."""

    def __init__(self) -> None:
        self.longest = 0
        self._calls = 0

    def count(self, frame: FrameType, event: str, _: Any) -> None:
        """What `sys.setprofile` calls. It hears of this thread alone."""
        if event == "call" and frame.f_code is _STEP:
            self.end_step()
        elif event in ("call", "c_call"):
            self._calls += 1

    def end_step(self) -> None:
        self.longest, self._calls = max(self.longest, self._calls), 0


@contextmanager
def counted() -> Iterator[Steps]:
    """The steps of the event loop of this thread, within the block."""
    steps = Steps()
    sys.setprofile(steps.count)
    try:
        yield steps
    finally:
        sys.setprofile(None)
        steps.end_step()
