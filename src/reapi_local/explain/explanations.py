"""Answers why the processes of a run were no hits, from the journal and the store."""

from __future__ import annotations

import asyncio
import sqlite3
from typing import Final

from reapi_contract.explanations import Explanation
from reapi_local.clock import Clock
from reapi_local.errors import JournalOff, RunNotFound
from reapi_local.explain.journal_reader import JournalReader, find_run
from reapi_local.explain.makers import makers
from reapi_local.explain.of_run import Findings, explanation, find_causes
from reapi_local.explain.unreported import UnreportedReader
from reapi_local.journal.journal import Journal
from reapi_local.store.action_cache import ActionCache
from reapi_local.store.blob_store import BlobStore
from reapi_local.threads import in_thread

_SECONDS: Final = 20.0


class Explanations:
    """``journal``: None if the server keeps none. ``results``: emits no events for look-ups.

    One is made at a time, because calls of clients need the threads, too.
    """

    def __init__(
        self, journal: Journal | None, results: ActionCache, blobs: BlobStore, clock: Clock
    ) -> None:
        self._journal, self._results, self._blobs = journal, results, blobs
        self._clock, self._turn = clock, asyncio.Lock()

    async def explain(self, run: str, instance: str | None, process: str) -> Explanation:
        """The explanation of a run, "" = the newest that asked the cache.

        ``instance``: the only one of which anything is told; None for all. What takes longer than
        20 seconds is left out.
        ``process``: see ``admin_api.EXPLANATIONS``. Raises JournalOff, JournalUnavailable,
        RunNotFound.
        """
        if self._journal is None:
            raise JournalOff
        async with self._turn:
            return await self._explain(self._journal, run, instance, process)

    async def _explain(
        self, journal: Journal, run: str, instance: str | None, process: str
    ) -> Explanation:
        end = self._clock.monotonic() + _SECONDS

        def is_late() -> bool:
            return self._clock.monotonic() > end

        def find(connection: sqlite3.Connection) -> Findings:
            found = find_run(connection, run, instance)
            if found is None:
                raise RunNotFound(run)
            number, summary = found
            kind = JournalReader if summary.reported else UnreportedReader
            reader = kind(connection, instance)
            return find_causes(summary, number, reader, process, is_late)

        findings = await journal.ask(find)
        made = await makers(self._results, self._blobs, findings.summary.instance, findings.actions)
        return await in_thread(explanation, findings, made)
