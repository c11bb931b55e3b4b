"""What there is without a journal: the latest runs since the start, with hits and misses."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from cachetools import LRUCache

from reapi_contract.action_history import ActionHistory
from reapi_contract.admin_api import RunSummary
from reapi_contract.input_trees import InputTree
from reapi_contract.masks import Masks
from reapi_contract.run_details import RunDetails
from reapi_contract.run_reports import Kept, ProcessReport, Reporting, RunReport
from reapi_contract.savings import Savings
from reapi_local.clock import Clock
from reapi_local.context import SELF_CHECK, Metadata
from reapi_local.errors import JournalOff
from reapi_local.events import CacheUser, EventStream, LookedUp
from reapi_local.protocol.digest import Digest
from reapi_local.protocol.lookup import Hit

_MAX_RUNS: Final = 1000


@dataclass
class _Run:
    tool: str
    started_at: float
    last_call_at: float
    hits: int = 0
    misses: int = 0


class NoJournal:
    """Stands for a journal that is off. Remembers in memory the latest runs that made lookups.

    ``masks``: with another key in each process.
    """

    dropped: Final = 0

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self.masks = Masks(secrets.token_bytes(32))
        self._runs: LRUCache[tuple[str, str], _Run] = LRUCache(_MAX_RUNS)
        # Consecutive lookups mostly belong to one run, so the last run is kept at hand.
        self._last: tuple[tuple[str, str], _Run] | None = None

    def subscribe_to(self, events: EventStream) -> None:
        events.subscribe(LookedUp, self._looked_up)

    def start(self) -> None:
        """Nothing has to be started."""

    async def close(self) -> None:
        """Nothing has to be closed."""

    def reporting(self) -> Reporting:
        """Reports aren't kept."""
        return Reporting()

    async def report(
        self, run: RunReport, processes: Sequence[ProcessReport], size_bytes: int
    ) -> Kept:
        """Nothing of it is kept."""
        return Kept()

    async def missing_trees(self, roots: Sequence[str]) -> list[str]:
        """None is wanted."""
        return []

    async def keep_tree(self, tree: InputTree) -> None:
        """Nothing of it is kept."""

    async def run(self, run: str, instance: str | None) -> RunDetails:
        """Raises JournalOff."""
        raise JournalOff

    async def action(self, action: Digest) -> ActionHistory:
        """Raises JournalOff."""
        raise JournalOff

    async def savings(self, by: str, days: int, instance: str | None, limit: int) -> Savings:
        """Raises JournalOff."""
        raise JournalOff

    async def runs(self, instance: str | None, limit: int) -> list[RunSummary]:
        """At most ``limit`` runs, the latest start first; ``instance`` None = of all instances."""
        chosen = [
            RunSummary(invocation, run.tool, name, *_numbers(run))
            for (name, invocation), run in self._runs.items()
            if instance is None or name == instance
        ]
        chosen.sort(key=lambda run: run.started_at, reverse=True)
        return chosen[:limit]

    def _looked_up(self, event: LookedUp) -> None:
        context, _, outcome, user = event
        metadata = context.metadata
        if not metadata.invocation_id or user is not CacheUser.CLIENT:
            return
        if metadata.tool_name == SELF_CHECK:
            return
        run = self._run(context.instance, metadata)
        run.last_call_at = self._clock.now()
        if isinstance(outcome, Hit):
            run.hits += 1
        else:
            run.misses += 1

    def _run(self, instance: str, metadata: Metadata) -> _Run:
        key = instance, metadata.invocation_id
        if self._last is not None and self._last[0] == key:
            return self._last[1]
        run = self._runs.get(key)
        if run is None:
            now = self._clock.now()
            run = self._runs[key] = _Run(metadata.tool, now, now)
        self._last = key, run
        return run


def _numbers(run: _Run) -> tuple[float, float, int, int]:
    return run.started_at, run.last_call_at, run.hits, run.misses
