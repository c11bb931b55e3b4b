"""Descriptors are enough for the work, however many connections clients hold open.

A connection takes a descriptor whether or not its client ever sends anything, and no transport
bounds their number. Without a free descriptor nobody else can connect, and no file can be opened.
"""

from __future__ import annotations

import asyncio
import logging
import resource
from collections.abc import Collection
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Final

from reapi_local.clock import Clock, set_within
from reapi_local.compose.guards.connections import (
    Connection,
    can_be_listed,
    connections,
    hang_up,
    open_descriptors,
)

_log = logging.getLogger(__name__)

_MOST_DESCRIPTORS: Final = 65_536
_LOOK_SECONDS: Final = 1.0


def raise_limit() -> None:
    """Raise the soft limit of open files to the hard one, at most to 65,536."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _MOST_DESCRIPTORS if hard == resource.RLIM_INFINITY else min(hard, _MOST_DESCRIPTORS)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        with suppress(OSError, ValueError):  # macOS has a lower limit of its own
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


class DescriptorGuard:
    """Closes idle connections to ``ports`` when over three quarters of the descriptors are in use.

    Then it goes on until half of them are free, if there are so many connections. Those that never
    sent anything go first, then those that were silent longest; a gRPC client connects again by
    itself. Needs Linux; elsewhere it does nothing.
    """

    def __init__(self, ports: Collection[int], clock: Clock) -> None:
        self._ports, self._clock = frozenset(ports), clock
        self._stop = asyncio.Event()
        # The usual threads may all be busy when it matters.
        self._thread = ThreadPoolExecutor(1, "descriptors")
        self._watching: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to watch."""
        if can_be_listed():
            self._watching = asyncio.create_task(self._watch())

    async def stop(self) -> None:
        """Watch no longer."""
        self._stop.set()
        if self._watching is not None:
            await self._watching
        self._thread.shutdown()

    async def _watch(self) -> None:
        loop = asyncio.get_running_loop()
        while not await set_within(self._stop, _LOOK_SECONDS, self._clock):
            closed = await loop.run_in_executor(self._thread, self._make_room)
            if closed:
                _log.warning(
                    "closed %d idle connections: too few descriptors were left; raise the limit of "
                    "open files if that many clients are yours",
                    closed,
                )

    def _make_room(self) -> int:
        """Close as many connections as there are too many; returns their number."""
        limit = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
        if limit == resource.RLIM_INFINITY:
            return 0
        descriptors = open_descriptors()
        if len(descriptors) <= limit * 3 // 4:
            return 0
        too_many = len(descriptors) - limit // 2
        idle = sorted(connections(descriptors, self._ports), key=_silent_first)[:too_many]
        for connection in idle:
            hang_up(connection)
        return len(idle)


def _silent_first(connection: Connection) -> tuple[bool, int]:
    """Those that never sent anything, then those that were silent longest."""
    silent_ms = min(connection.sent_ago_ms, connection.received_ago_ms)
    return connection.received_bytes > 0, -silent_ms
