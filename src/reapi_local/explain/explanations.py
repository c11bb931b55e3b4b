"""Answers why the processes of a run were no hits, from the journal and the store."""

from __future__ import annotations

import sqlite3

from reapi_contract.explanations import Explanation
from reapi_local.errors import JournalOff, RunNotFound
from reapi_local.explain.journal_reader import JournalReader, find_run
from reapi_local.explain.makers import makers
from reapi_local.explain.of_run import Findings, explanation, find_causes
from reapi_local.explain.unreported import UnreportedReader
from reapi_local.journal.journal import Journal
from reapi_local.store.action_cache import ActionCache
from reapi_local.store.blob_store import BlobStore
from reapi_local.threads import in_thread


class Explanations:
    """``journal``: None if the server keeps none. ``results``: emits no events for look-ups."""

    def __init__(self, journal: Journal | None, results: ActionCache, blobs: BlobStore) -> None:
        self._journal, self._results, self._blobs = journal, results, blobs

    async def explain(self, run: str, instance: str | None, process: str) -> Explanation:
        """The explanation of a run, "" = the newest that asked the cache.

        ``process``: see ``admin_api.EXPLANATIONS``. Raises JournalOff, JournalUnavailable,
        RunNotFound.
        """
        if self._journal is None:
            raise JournalOff

        def find(connection: sqlite3.Connection) -> Findings:
            found = find_run(connection, run, instance)
            if found is None:
                raise RunNotFound(run)
            number, summary = found
            kind = JournalReader if summary.reported else UnreportedReader
            reader = kind(connection)
            return find_causes(summary, number, reader, process)

        findings = await self._journal.ask(find)
        made = await makers(self._results, self._blobs, findings.summary.instance, findings.actions)
        return await in_thread(explanation, findings, made)
