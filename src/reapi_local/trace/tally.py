"""Counts of calls, and of cache hits and misses by instance and by run. In memory, since start."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Final

from reapi_local.clock import Clock

_MOST_RUNS: Final = 1000


class Lookup(StrEnum):
    """What became of one use of an action cache."""

    HIT = "hits"
    MISS = "misses"
    WRITE = "writes"


@dataclass
class CallCount:
    """How often a method was called, and how often it ended with an error status."""

    count: int = 0
    errors: int = 0


@dataclass
class CacheCount:
    """Look-ups and writes of one action cache."""

    hits: int = 0
    misses: int = 0
    writes: int = 0


@dataclass
class RunCount:
    """One invocation of a client; times in seconds since the epoch."""

    run: str
    tool: str
    instance: str
    started_at: float
    last_call_at: float
    hits: int = 0
    misses: int = 0


class Tally:
    """The counters of one server."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self.calls: dict[str, CallCount] = {}
        self.caches: dict[str, CacheCount] = {}
        self._runs: OrderedDict[tuple[str, str], RunCount] = OrderedDict()
        self.last_call_at = clock.monotonic()

    def count_call(self, method: str, *, failed: bool) -> None:
        """Note one finished call of ``Service/Method``."""
        entry = self.calls.get(method)
        if entry is None:
            entry = self.calls[method] = CallCount()
        entry.count += 1
        entry.errors += failed
        self.last_call_at = self._clock.monotonic()

    def count_lookup(self, instance: str, what: Lookup, run: str, tool: str) -> None:
        """Note what one action-cache call came to; look-ups count for their run too."""
        cache = self.cache(instance)
        setattr(cache, what, getattr(cache, what) + 1)
        if not run or what is Lookup.WRITE:
            return
        now = self._clock.now()
        entry = self._runs.get((instance, run))
        if entry is None:
            entry = self._runs[instance, run] = RunCount(run, tool, instance, now, now)
            if len(self._runs) > _MOST_RUNS:
                self._runs.popitem(last=False)
        entry.last_call_at = now
        setattr(entry, what, getattr(entry, what) + 1)

    def cache(self, instance: str) -> CacheCount:
        """The counts of one instance's action cache, made at its first use."""
        return self.caches.setdefault(instance, CacheCount())

    def runs(self, instance: str | None, limit: int) -> list[dict[str, object]]:
        """The latest runs, newest first, as JSON values; of one instance or of all."""
        chosen = [
            run for run in self._runs.values() if instance is None or run.instance == instance
        ]
        chosen.sort(key=lambda run: run.started_at, reverse=True)
        return [asdict(run) for run in chosen[:limit]]
