"""Whose memory it is: how much each client's connection probably holds.

Nobody counts that. But when the memory grows, it grows for those whose requests came just before,
and for those that were given answers which they have not taken.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Final
from urllib.parse import unquote

from reapi_local.compose.guards.connections import (
    Connection,
    connections,
    hang_up,
    open_descriptors,
)
from reapi_local.rpc.in_flight import InFlight

_HALF_LIFE_SECONDS: Final = 10.0
"""So long after a client sent something, it is half as likely the cause of growth."""
_JUST_NOW_MS: Final = 1000
_FIRST_PART: Final = 16
"""That part of the budget is the most that counts of what came before the first look."""
_LITTLE_BYTES: Final = 64 * 1024
"""Who holds less is not worth it."""
_GONE_SECONDS: Final = 60.0
"""So long the memory of a connection that was closed may take to be free."""


@dataclass(slots=True)
class _Holder:
    connection: Connection
    last_seen: float
    moved_bytes: float = 0.0
    """What its client sent, and the long answers to it; the longer ago, the less it counts."""
    held_bytes: float = 0.0
    is_open: bool = True


class Holders:
    """An estimate for each connection to ``ports``. For one thread."""

    def __init__(self, in_flight: InFlight, ports: Collection[int]) -> None:
        self._in_flight, self._ports = in_flight, ports
        self._holders: dict[str, _Holder] = {}
        self._looked_at = 0.0

    def grown(self, grown_bytes: int, now: float) -> None:
        """The memory has grown by so much: divide that among those that caused it."""
        self.look(now)
        moved = sum(holder.moved_bytes for holder in self._holders.values()) or 1.0
        for holder in self._holders.values():
            holder.held_bytes += grown_bytes * holder.moved_bytes / moved

    def shrunk(self, shrunk_bytes: int, left_bytes: int) -> None:
        """The memory has shrunk by so much, to so much. That of closed connections goes first."""
        rest: float = shrunk_bytes
        for holder in self._holders.values():
            if not holder.is_open:
                freed = min(rest, holder.held_bytes)
                holder.held_bytes -= freed
                rest -= freed
        for holder in self._holders.values():
            holder.held_bytes *= left_bytes / (left_bytes + rest)

    def forget(self) -> None:
        """Hardly any memory is held."""
        if self._holders or self._in_flight.handed_over:
            self._holders, self._in_flight.handed_over = {}, {}

    def hang_up(self, needed_bytes: int, now: float) -> int:
        """Close those that hold most until they hold so much together; returns their number.

        Those that were closed just before count too: their memory is on its way.
        """
        self.look(now)
        closed = 0
        for holder in sorted(self._holders.values(), key=_held, reverse=True):
            if needed_bytes <= 0 or holder.held_bytes < _LITTLE_BYTES:
                break
            needed_bytes -= int(holder.held_bytes)
            if holder.is_open:
                hang_up(holder.connection)
                holder.is_open = False
                holder.moved_bytes /= 4  # it may still be worked on, but sends nothing more
                closed += 1
        return closed

    def look(self, now: float) -> None:
        """See what moved since the last look, and which connections are new or gone."""
        is_first = not self._holders
        handed, self._in_flight.handed_over = self._in_flight.handed_over, {}
        answers = {_address(peer): count for peer, count in handed.items()}
        faded = 0.5 ** ((now - self._looked_at) / _HALF_LIFE_SECONDS)
        self._looked_at = now
        for holder in self._holders.values():
            holder.moved_bytes *= faded
        for connection in connections(open_descriptors(), self._ports):
            known = self._holders.get(connection.peer)
            if known is not None:
                moved = connection.received_bytes - known.connection.received_bytes
            else:
                known = self._holders[connection.peer] = _Holder(connection, now)
                moved = connection.received_bytes
                if is_first:  # it may have received most of that long ago
                    is_recent = connection.received_ago_ms <= _JUST_NOW_MS
                    most = self._in_flight.limit_bytes // _FIRST_PART
                    moved = min(moved, most) if is_recent else 0
            known.moved_bytes += max(0, moved) + answers.get(connection.peer, 0)
            known.connection, known.last_seen = connection, now
        self._holders = {
            peer: known for peer, known in self._holders.items() if self._counts(known)
        }

    def _counts(self, holder: _Holder) -> bool:
        """Whether it is still there, or its memory may be."""
        if holder.last_seen < self._looked_at:
            holder.is_open = False
        age = self._looked_at - holder.last_seen
        return holder.is_open or (age < _GONE_SECONDS and holder.held_bytes > _LITTLE_BYTES)


def _held(holder: _Holder) -> float:
    return holder.held_bytes


def _address(peer: str) -> str:
    """A peer as gRPC names it, ``ipv6:%5B::1%5D:40000``, in the form of :class:`Connection`."""
    host, _, port = unquote(peer.partition(":")[2]).rpartition(":")
    return f"{host.strip('[]')}:{port}"
