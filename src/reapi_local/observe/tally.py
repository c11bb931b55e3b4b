"""Counts of calls, and of cache hits and misses by instance and by run. In memory, since start."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Final

from reapi_local.clock import Clock

SELF_CHECK: Final = "reapi-local-check"
"""The tool name under which the server calls itself: no client's call, so it isn't counted."""

_MAX_RUNS: Final = 1000


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
class ExecutionCount:
    """Actions of one instance: run to their end, found in the action cache when one was to be run,
    and ended without a result.
    """

    executed: int = 0
    cached: int = 0
    failed: int = 0


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
        self.executions: dict[str, ExecutionCount] = {}
        self._runs: OrderedDict[tuple[str, str], RunCount] = OrderedDict()
        self._last_call_at = clock.monotonic()
        self._in_flight = 0

    @property
    def idle_seconds(self) -> float:
        """How long there has been no call; 0 while there is one."""
        return 0.0 if self._in_flight else self._clock.monotonic() - self._last_call_at

    def begin_call(self) -> None:
        """Note that a call came in; :meth:`count_call` ends it."""
        self._in_flight += 1

    def count_call(self, method: str, tool: str, *, failed: bool) -> None:
        """Note the end of one call of ``Service/Method``."""
        self._in_flight -= 1
        if tool == SELF_CHECK:
            return
        entry = self.calls.get(method)
        if entry is None:
            entry = self.calls[method] = CallCount()
        entry.count += 1
        entry.errors += failed
        self._last_call_at = self._clock.monotonic()

    def count_lookup(self, instance: str, what: Lookup, run: str, tool: str) -> None:
        """Note what one action-cache call came to; look-ups count for their run too."""
        if tool == SELF_CHECK:
            return
        cache = self.cache(instance)
        setattr(cache, what, getattr(cache, what) + 1)
        if not run or what is Lookup.WRITE:
            return
        now = self._clock.now()
        entry = self._runs.get((instance, run))
        if entry is None:
            entry = self._runs[instance, run] = RunCount(run, tool, instance, now, now)
            if len(self._runs) > _MAX_RUNS:
                self._runs.popitem(last=False)
        entry.last_call_at = now
        setattr(entry, what, getattr(entry, what) + 1)

    def cache(self, instance: str) -> CacheCount:
        """The counts of one instance's action cache, made at its first use."""
        return self.caches.setdefault(instance, CacheCount())

    def execution(self, instance: str) -> ExecutionCount:
        """The counts of one instance's executions, made at its first use."""
        return self.executions.setdefault(instance, ExecutionCount())

    def runs(self, instance: str | None, limit: int) -> list[dict[str, object]]:
        """The latest runs, newest first, as JSON values; of one instance or of all."""
        chosen = [
            run for run in self._runs.values() if instance is None or run.instance == instance
        ]
        chosen.sort(key=lambda run: run.started_at, reverse=True)
        return [asdict(run) for run in chosen[:limit]]
