"""How long a launch waits."""

from __future__ import annotations

import time
from dataclasses import dataclass


@dataclass(frozen=True)
class Timeouts:
    """How long a launch waits, in seconds. This also decides what it may do.

    `lock_s`: for another launcher. `start_s`: for a server that is starting or stopping, and
    `other_s`: for one that was ready and does not answer. These two limit the time without
    progress, see `patience`. `total_s`: for all of it.

    A launch with `total_s` is quick, for a hook before every command. It accepts a running server
    of any version, it makes no private environment, and a server that is not ready in time goes on
    starting for the next command. A launch without `total_s` replaces an older server, makes what
    is missing, and kills a server that is not ready in time.
    """

    lock_s: float = 600.0
    start_s: float = 30.0
    other_s: float = 12.0
    total_s: float | None = None

    @property
    def is_quick(self) -> bool:
        return self.total_s is not None


THOROUGH = Timeouts()


class Deadline:
    """The end of a launch's time: `total_s` from now, or never if it is None."""

    def __init__(self, total_s: float | None) -> None:
        self._end = None if total_s is None else time.monotonic() + total_s

    @property
    def left_s(self) -> float | None:
        """The seconds that are left; None if there is no end."""
        return None if self._end is None else max(0.0, self._end - time.monotonic())

    def limit(self, step_s: float) -> float:
        """The seconds that a step may take: `step_s`, or what is left if that is less."""
        left_s = self.left_s
        return step_s if left_s is None else min(step_s, left_s)


NEVER = Deadline(None)
