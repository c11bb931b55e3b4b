"""Descriptors are enough for the work, however many connections clients hold open.

A connection takes a descriptor whether or not its client ever sends anything, and no transport
bounds their number. Without a free descriptor nobody else can connect, and no file can be opened.
"""

from __future__ import annotations

import asyncio
import errno
import logging
import os
import resource
import socket
import struct
from collections.abc import Collection, Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Final

from reapi_local.clock import Clock, set_within

_log = logging.getLogger(__name__)

_MOST_DESCRIPTORS: Final = 65_536
_LOOK_SECONDS: Final = 1.0
_OWN_DESCRIPTORS: Final = "/proc/self/fd"

# struct tcp_info of linux/tcp.h: the state, milliseconds since data was last sent and received, and
# the bytes received.
_ESTABLISHED: Final = 1
_LAST_SENT_OFFSET, _LAST_RECEIVED_OFFSET, _RECEIVED_OFFSET = 44, 52, 128
_TCP_INFO_BYTES: Final = 192


def raise_limit() -> None:
    """Raise the soft limit of open files to the hard one, at most to 65,536."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _MOST_DESCRIPTORS if hard == resource.RLIM_INFINITY else min(hard, _MOST_DESCRIPTORS)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        with suppress(OSError, ValueError):  # macOS has a lower limit of its own
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


class ConnectionGuard:
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
        if os.path.isdir(_OWN_DESCRIPTORS):
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
        descriptors = _open_descriptors(limit)
        if len(descriptors) <= limit * 3 // 4:
            return 0
        too_many = len(descriptors) - limit // 2
        idle = sorted(self._silent_first(descriptors))
        for *_, descriptor in idle[:too_many]:
            _hang_up(descriptor)
        return len(idle[:too_many])

    def _silent_first(self, descriptors: Iterable[int]) -> Iterable[tuple[bool, int, int]]:
        """Connections as (has sent anything, minus the milliseconds of silence, descriptor)."""
        for descriptor in descriptors:
            if (info := _connection(descriptor, self._ports)) is not None:
                sent, got = (
                    struct.unpack_from("=I", info, offset)[0]
                    for offset in (_LAST_SENT_OFFSET, _LAST_RECEIVED_OFFSET)
                )
                [received] = struct.unpack_from("=Q", info, _RECEIVED_OFFSET)
                yield received > 0, -min(sent, got), descriptor


def _open_descriptors(limit: int) -> Collection[int]:
    """The numbers of the open ones; if there is none left to look with, of all that can be."""
    try:
        return [int(name) for name in os.listdir(_OWN_DESCRIPTORS)]
    except OSError as error:
        if error.errno not in (errno.EMFILE, errno.ENFILE):
            return ()
        return range(limit)


def _connection(descriptor: int, ports: Collection[int]) -> bytes | None:
    """TCP_INFO of a connection that was accepted on one of these ports; None for all else."""
    try:
        # Not duplicated, which would need a descriptor.
        connection = socket.socket(fileno=descriptor)
    except OSError:  # no socket, or closed meanwhile
        return None
    try:
        if connection.family not in (socket.AF_INET, socket.AF_INET6):
            return None
        if connection.getsockname()[1] not in ports:
            return None
        info = connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _TCP_INFO_BYTES)
    except OSError:
        return None
    finally:
        connection.detach()
    is_usable = len(info) >= _RECEIVED_OFFSET + 8 and info[0] == _ESTABLISHED
    return info if is_usable else None


def _hang_up(descriptor: int) -> None:
    """Let the transport see the end of a connection, which it then closes."""
    with suppress(OSError):
        connection = socket.socket(fileno=descriptor)
        try:
            connection.shutdown(socket.SHUT_RDWR)
        finally:
            connection.detach()
