"""The bounded queue between the event loop, which puts entries, and the writer's thread."""

from __future__ import annotations

import threading
from collections import deque
from typing import Any, Final

MAX_ENTRIES: Final = 50_000
MAX_BYTES: Final = 16 * 1024 * 1024


class Intake:
    """Takes entries without ever waiting. What finds no room is dropped and counted.

    Only the event loop calls :meth:`put`, and only the writer's thread calls :meth:`wait` and
    :meth:`take`, so a lock isn't needed: each counter has one thread that changes it.
    """

    def __init__(self, max_entries: int = MAX_ENTRIES, max_bytes: int = MAX_BYTES) -> None:
        self._max_entries, self._max_bytes = max_entries, max_bytes
        self._entries: deque[tuple[Any, int]] = deque()
        self._bytes_in = self._bytes_out = 0
        self._is_told = False
        self._arrived, self._hurry = threading.Event(), threading.Event()
        self.dropped = 0
        self.count = 0
        """How many entries came so far."""

    def put(self, entry: Any, size_bytes: int = 0) -> bool:
        """Add an entry that keeps about ``size_bytes`` in memory; returns whether it has room."""
        if (
            len(self._entries) >= self._max_entries
            or self._bytes_in - self._bytes_out > self._max_bytes
        ):
            self.dropped += 1
            return False
        self.put_always(entry, size_bytes)
        return True

    def put_always(self, entry: Any, size_bytes: int = 0) -> None:
        """Add an entry whether there is room or not: one of those that are few."""
        self.count += 1
        self._bytes_in += size_bytes
        self._entries.append((entry, size_bytes))
        if not self._is_told:
            self._is_told = True
            self._arrived.set()

    def hurry(self) -> None:
        """Let the writer take what there is without delay."""
        self._hurry.set()
        self._arrived.set()

    def wait(self, seconds: float) -> None:
        """Wait until there are entries, then up to ``seconds`` for more of them."""
        self._arrived.wait()
        self._hurry.wait(seconds)

    def take(self, limit: int) -> list[Any]:
        """Some of the entries, the oldest first."""
        self._arrived.clear()
        self._hurry.clear()
        self._is_told = False
        taken = []
        for _ in range(min(limit, len(self._entries))):
            entry, size_bytes = self._entries.popleft()
            self._bytes_out += size_bytes
            taken.append(entry)
        if self._entries:
            self.hurry()
        return taken
