"""Leases: which keys the store must keep for which invocation. They are only in memory.

A lease ends when its invocation has made no call for ``lease_seconds``. The keys of ended leases
count as recently used until the next generation is evicted.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Final

from reapi_local.clock import Clock

_MAX_RECENT: Final = 1_000_000
_SLICES_PER_LEASE: Final = 8


class _Lease:
    __slots__ = ("ends", "keys")

    def __init__(self, ends: float) -> None:
        self.ends = ends
        self.keys: set[bytes] = set()


class Leases:
    """Leases by invocation. Calls without an invocation share one lease per time slice."""

    def __init__(self, clock: Clock, lease_seconds: float) -> None:
        self._clock = clock
        self._seconds = lease_seconds
        self._leases: dict[str, _Lease] = {}
        self._followers: list[list[bytes]] = []
        self._next_check = clock.monotonic() + lease_seconds
        self._recent: set[bytes] = set()

    def add(self, invocation: str, keys: Iterable[bytes]) -> None:
        """Lease the keys to the invocation, and renew its lease on all its earlier keys."""
        now = self._clock.monotonic()
        if now >= self._next_check:
            self._expire(now)
        holder = invocation or f"\0{int(now / self._seconds * _SLICES_PER_LEASE)}"
        lease = self._leases.get(holder)
        if lease is None:
            lease = self._leases[holder] = _Lease(0.0)
        # The shared lease of a time slice may last up to one slice longer than lease_seconds.
        lease.ends = now + self._seconds
        if self._followers:
            fresh = set(keys) - lease.keys
            lease.keys |= fresh
            for follower in self._followers:
                follower.extend(fresh)
        else:
            lease.keys.update(keys)

    def leased(self) -> set[bytes]:
        """Every key that is leased now."""
        self._expire(self._clock.monotonic())
        return set().union(*(lease.keys for lease in self._leases.values()))

    def take_recent(self) -> set[bytes]:
        """The keys of leases that ended since the last call of this method."""
        recent, self._recent = self._recent, set()
        return recent

    @contextmanager
    def follow(self) -> Iterator[list[bytes]]:
        """All keys leased now; keys that are leased within the block are appended to the list."""
        follower = list(self.leased())
        self._followers.append(follower)
        try:
            yield follower
        finally:
            self._followers = [other for other in self._followers if other is not follower]

    def _expire(self, now: float) -> None:
        for holder in [h for h, lease in self._leases.items() if lease.ends <= now]:
            ended = self._leases.pop(holder)
            if len(self._recent) < _MAX_RECENT:
                self._recent |= ended.keys
        self._next_check = now + self._seconds / _SLICES_PER_LEASE
