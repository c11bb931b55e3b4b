"""Memory stays within the budget for what is under way, however clients behave.

Transports hold what clients send until it is complete, and answers until clients take them, and
bound neither for a connection nor for all together. So a thread measures what the process takes.
Beyond three quarters of the budget, services refuse what takes much. Near its end, and if it stays
that full, the connections that hold most are closed. A gRPC client connects again by itself.
"""

from __future__ import annotations

import asyncio
import ctypes
import logging
import os
import threading
import time
from collections.abc import Collection
from typing import Final

from reapi_local.compose.guards.connections import can_be_listed
from reapi_local.compose.guards.holders import Holders
from reapi_local.rpc.in_flight import InFlight

_log = logging.getLogger(__name__)

_MIB: Final = 1024 * 1024
_FASTEST: Final = 4096 * _MIB
"""Memory doesn't grow by more in a second; the next look comes before it could be too much."""
_SHORTEST_PAUSE, _LONGEST_PAUSE = 0.005, 0.25
_STEPS: Final = 16
"""When the memory has grown by that part of the budget, it is found out whose it is."""
_HELD_SECONDS: Final = 5.0
"""So long large messages may be refused; then who holds the memory has to give it back."""
_CLOSING_SECONDS: Final = 0.05
_OWN_SECONDS: Final = 30.0
"""What stays for so long, and is no connection's, is the server's own."""
_LOOK_SECONDS: Final = 60.0
_LOG_SECONDS: Final = 1.0
_TRIM_SECONDS: Final = 1.0
_MOVING_SECONDS: Final = 8.0
"""So long after a large change it is tried to give memory back to the system."""
_PAGE_BYTES: Final = os.sysconf("SC_PAGE_SIZE")


class MemoryGuard:
    """Keeps ``in_flight`` up to date, and closes connections to ``ports``. Needs Linux.

    Elsewhere it does nothing.
    """

    def __init__(self, in_flight: InFlight, ports: Collection[int]) -> None:
        self._in_flight = in_flight
        self._holders = Holders(in_flight, frozenset(ports))
        self._step_bytes = in_flight.limit_bytes // _STEPS
        self._hang_up_bytes = in_flight.limit_bytes * 7 // 8
        self._own_bytes = 0
        """What the server takes when nothing is under way."""
        self._known_bytes = 0
        """Of what is in use, how much the holders were told of."""
        self._looked_at = self._trimmed_at = self._closed_at = 0.0
        self._closed, self._logged_at = 0, 0.0
        """How many connections were closed, and not yet logged."""
        self._trim_until = 0.0
        self._full_since: float | None = None
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="memory", daemon=True)

    def start(self) -> None:
        """Begin to watch; what the server takes now is its own."""
        if can_be_listed():
            self._own_bytes = _taken_bytes()
            self._thread.start()

    async def stop(self) -> None:
        """Watch no longer."""
        self._stop.set()
        if self._thread.is_alive():
            await asyncio.to_thread(self._thread.join)

    def _watch(self) -> None:
        while not self._stop.wait(self._pause()):
            try:
                self._look(_taken_bytes(), time.monotonic())
            except Exception:  # it must not end
                _log.exception("the memory can't be looked after")
                self._stop.wait(_LONGEST_PAUSE)

    def _pause(self) -> float:
        left = self._hang_up_bytes - self._in_flight.used_bytes
        return min(max(left / _FASTEST, _SHORTEST_PAUSE), _LONGEST_PAUSE)

    def _look(self, taken_bytes: int, now: float) -> None:
        self._own_bytes = min(self._own_bytes, taken_bytes)
        used = self._in_flight.used_bytes = taken_bytes - self._own_bytes
        self._tell_holders(used, now)
        if used <= self._in_flight.refuse_bytes:
            self._full_since = None
        elif self._full_since is None:
            self._full_since = now
        is_held = self._full_since is not None and now - self._full_since > _HELD_SECONDS
        if used > self._hang_up_bytes or is_held:
            self._make_room(used, now)
        if now < self._trim_until and now - self._trimmed_at > _TRIM_SECONDS:
            self._trim(now)

    def _tell_holders(self, used: int, now: float) -> None:
        if abs(used - self._known_bytes) > self._step_bytes:
            self._trim_until = now + _MOVING_SECONDS
        if used < self._step_bytes:
            self._holders.forget()
            self._known_bytes = min(used, self._known_bytes)
        elif used > self._known_bytes + self._step_bytes:
            self._holders.grown(used - self._known_bytes, now)
            self._known_bytes, self._looked_at = used, now
        elif used < self._known_bytes - self._step_bytes:
            self._holders.shrunk(self._known_bytes - used, used)
            self._known_bytes = used
        elif now - self._looked_at > _LOOK_SECONDS:
            self._holders.look(now)
            self._looked_at = now

    def _make_room(self, used: int, now: float) -> None:
        """Close connections until half of the budget will be free."""
        if now - self._closed_at < _CLOSING_SECONDS:
            return
        half = self._in_flight.limit_bytes // 2
        if closed := self._holders.hang_up(used - half, now):
            self._closed_at = now
            self._closed += closed
            if now - self._logged_at < _LOG_SECONDS:
                return
            closed, self._closed, self._logged_at = self._closed, 0, now
            _log.warning(
                "closed %d connections: requests and answers under way took %d MiB of memory, and "
                "these held most of it; %d MiB is the most (setting in_flight)",
                closed,
                used // _MIB,
                self._in_flight.limit_bytes // _MIB,
            )
        elif self._full_since and now - max(self._full_since, self._closed_at) > _OWN_SECONDS:
            self._own_bytes += used - half
            self._full_since = None
            _log.warning("the server takes %d MiB that no connection holds", used // _MIB)

    def _trim(self, now: float) -> None:
        """Give memory that is free back to the system; the allocator mostly keeps it."""
        self._trimmed_at = now
        if _malloc_trim is not None:
            _malloc_trim(0)


def _taken_bytes() -> int:
    """The memory of this process that no file backs. The index is a file."""
    with open("/proc/self/statm", "rb", buffering=0) as statm:
        _, resident, shared, *_ = statm.read(256).split()
    return (int(resident) - int(shared)) * _PAGE_BYTES


_malloc_trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
"""Of the GNU C library."""
