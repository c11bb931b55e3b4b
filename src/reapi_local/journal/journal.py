"""The journal of a server: subscribes to events, takes reports, and answers questions."""

from __future__ import annotations

import asyncio
import contextlib
import os
import secrets
import sqlite3
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, Final, TypeVar

from reapi_contract.action_history import ActionHistory
from reapi_contract.admin_api import RunSummary
from reapi_contract.input_trees import InputTree
from reapi_contract.masks import Masks
from reapi_contract.run_details import RunDetails
from reapi_contract.run_reports import Kept, ProcessReport, Reporting, RunReport
from reapi_contract.savings import Savings
from reapi_local.clock import Clock
from reapi_local.errors import ActionUnknown, JournalUnavailable, RunNotFound
from reapi_local.events import (
    ActionEnded,
    ActionStarted,
    BlobsRead,
    BlobsWritten,
    CallEnded,
    EntryRemoved,
    EventStream,
    GenerationEvicted,
    LookedUp,
    ResultWritten,
)
from reapi_local.journal import database, definitions
from reapi_local.journal.blob_reading import BlobReading
from reapi_local.journal.entries import Barrier, Effects, Happened, Reported, TreeRead
from reapi_local.journal.events_kept import DOWNLOADS, UPLOADS
from reapi_local.journal.history_queries import action_history
from reapi_local.journal.input_trees import directories_of, parse_root
from reapi_local.journal.intake import Intake
from reapi_local.journal.run_queries import has_tree, newest_runs, run_details
from reapi_local.journal.saving_queries import savings_by
from reapi_local.journal.schema import DAY_SECONDS
from reapi_local.journal.writer import Bounds, Writer
from reapi_local.protocol.digest import Digest
from reapi_local.protocol.lookup import Hit
from reapi_local.store.blob_store import BlobStore
from reapi_local.threads import in_thread

_T = TypeVar("_T")
"""The name of a run, and a process of it."""

_KEY_FILE: Final = "secrets.key"
_KEY_BYTES: Final = 32
_COMMIT_SECONDS: Final = 5.0
_READING_SECONDS: Final = 1.0
_BYTES_OF_A_PROCESS: Final = 1000
_TRANSFERS: Final = UPLOADS | DOWNLOADS


class Journal:
    """Keeps what happens in ``directory``. ``label``: the name that sums give to an instance.

    ``masks``, from :meth:`start` on: with the key of this journal, so a mask is the same wherever
    it is shown.
    """

    masks: Masks

    def __init__(
        self,
        directory: str,
        bounds: Bounds,
        blobs: BlobStore,
        clock: Clock,
        label: Callable[[str], str],
    ) -> None:
        self._directory, self._bounds, self._blobs = directory, bounds, blobs
        self._clock, self._now, self._label = clock, clock.now, label
        self._intake = Intake()
        self._put = self._intake.put
        self._writer: Writer | None = None

    def subscribe_to(self, events: EventStream) -> None:
        """Take all events from now on; they are written after :meth:`start`."""
        events.subscribe(LookedUp, self._looked_up)
        events.subscribe(ResultWritten, self._result_written)
        events.subscribe(CallEnded, self._call_ended)
        others: tuple[type[tuple[Any, ...]], ...] = (
            *(ActionEnded, ActionStarted, BlobsRead, BlobsWritten, EntryRemoved),
            GenerationEvicted,
        )
        for kind in others:
            events.subscribe(kind, self._happened)

    def start(self) -> None:
        """Start to write. Never fails: what goes wrong is logged, and tried again."""
        self._key = _key_in(self._directory)
        self.masks = Masks(self._key)
        self._reading = BlobReading(self._blobs, self._intake, self.masks, self._known, self._clock)
        self._writer = Writer(
            *(self._directory, self._bounds, self._intake, self._clock, self.masks, self._label),
            self._follow,
        )
        self._writer.start()
        self._reading.start()

    async def close(self) -> None:
        """Write what there is, and close the database."""
        if self._writer is not None:
            await self._reading.close()
            await in_thread(self._writer.close)

    @property
    def dropped(self) -> int:
        """How many entries found no room since the start."""
        return self._intake.dropped

    def reporting(self) -> Reporting:
        """What a reporter has to know."""
        return Reporting(keeps=True, secrets_key=self._key.hex())

    async def report(
        self, run: RunReport, processes: Sequence[ProcessReport], size_bytes: int
    ) -> Kept:
        """Keep a report of a request of ``size_bytes``; it is committed when this returns.

        Raises:
            JournalUnavailable: there is no room for it now, or the disk doesn't answer.
        """
        if self._writer is not None and self._writer.trouble:
            raise JournalUnavailable(self._writer.trouble)
        kept: asyncio.Future[Kept] = asyncio.get_running_loop().create_future()
        entry = Reported(self._now(), run, processes, kept)
        if not self._put(entry, size_bytes + _BYTES_OF_A_PROCESS * len(processes)):
            raise JournalUnavailable("it has more to write than it can hold")
        self._intake.hurry()
        return await _within(kept)

    async def missing_trees(self, roots: Sequence[str]) -> list[str]:
        """Those input roots, "HASH/SIZE", whose Directories the journal hasn't kept.

        Raises InvalidRequest, JournalUnavailable.
        """
        digests = [parse_root(root) for root in roots]
        return await self._ask(
            lambda connection: [str(one) for one in digests if not has_tree(connection, one)]
        )

    async def keep_tree(self, tree: InputTree) -> None:
        """Keep the Directories of an input tree. Raises InvalidRequest, JournalUnavailable."""
        made = await in_thread(directories_of, tree)
        entry = TreeRead(self._now(), parse_root(tree.root), tuple(made.items()))
        if not self._put(entry, sum(map(len, made.values()))):
            raise JournalUnavailable("it has more to write than it can hold")

    async def runs(self, instance: str | None, limit: int) -> list[RunSummary]:
        """The latest runs, newest first; ``instance`` None = of all. Raises JournalUnavailable."""
        return await self._ask(lambda connection: newest_runs(connection, instance, limit))

    async def run(self, run: str, instance: str | None) -> RunDetails:
        """A run with its processes and look-ups. Raises RunNotFound, JournalUnavailable."""
        await self._settled()
        found = await self._ask(lambda connection: run_details(connection, run, instance))
        if found is None:
            raise RunNotFound(run)
        return found

    async def action(self, action: Digest) -> ActionHistory:
        """What is known of an action. Raises ActionUnknown, JournalUnavailable."""
        await self._settled()
        found = await self._ask(lambda connection: action_history(connection, action))
        if found is None:
            raise ActionUnknown(action)
        return found

    async def savings(self, by: str, days: int, instance: str | None, limit: int) -> Savings:
        """What the cache saved, and what it cost, in the last ``days``, today among them.

        0 = in all that is known. Raises JournalUnavailable.
        """
        since = max(0.0, self._now() - (days - 1) * DAY_SECONDS) if days else 0.0
        found = await self._ask(
            lambda connection: savings_by(connection, by, since, instance, limit)
        )
        disk_bytes = self._blobs.describe().disk_bytes
        return replace(found, costs=replace(found.costs, disk_bytes=disk_bytes))

    async def ask(self, query: Callable[[sqlite3.Connection], _T]) -> _T:
        """The answer to a query in a thread, after all that happened before it was asked.

        That includes the blobs of actions, if to read them takes no time. Raises
        JournalUnavailable.
        """
        await self._settled()
        return await self._ask(query)

    async def _ask(self, query: Callable[[sqlite3.Connection], _T]) -> _T:
        """The answer to a query that sees all that happened before it was asked."""
        await self._committed()
        return await in_thread(self._queried, query)

    async def _committed(self) -> None:
        if self._writer is not None and self._writer.trouble:
            return
        reached: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._intake.put_always(Barrier(reached))
        self._intake.hurry()
        # Without it the answer lacks the last events, which is better than none.
        with contextlib.suppress(JournalUnavailable):
            await _within(reached)

    async def _settled(self) -> None:
        """Wait until the blobs of actions are read that are known by now, if that takes no time."""
        await self._committed()
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._reading.idle(), _READING_SECONDS)

    def _queried(self, query: Callable[[sqlite3.Connection], _T]) -> _T:
        try:
            with database.reading(self._directory) as connection:
                return query(connection)
        except sqlite3.Error as error:
            if self._writer is not None and database.code_of(error) not in database.LOCKED:
                self._writer.suspect()
            raise JournalUnavailable(str(error)) from error

    def _known(self, digests: Sequence[Digest]) -> dict[Digest, bytes]:
        """The Directories that the journal has. For another thread."""
        try:
            with database.reading(self._directory) as connection:
                found = {
                    digest: connection.execute(
                        "SELECT body FROM directories WHERE digest = ?", (bytes(digest),)
                    ).fetchone()
                    for digest in digests
                }
        except sqlite3.Error:
            return {}
        return {one: definitions.decompressed(row[0]) for one, row in found.items() if row}

    def _follow(self, effects: Effects) -> None:
        for call in effects.then:
            call()
        self._reading.want(effects.unread, effects.roots)

    def _looked_up(self, event: LookedUp) -> None:
        outcome = event.outcome
        size = len(outcome.stored.result) if type(outcome) is Hit else 0
        self._put(Happened(self._now(), event), size)

    def _result_written(self, event: ResultWritten) -> None:
        self._put(Happened(self._now(), event), len(event.stored.result))

    def _call_ended(self, event: CallEnded) -> None:
        if event.method in _TRANSFERS:
            self._put(Happened(self._now(), event))

    def _happened(self, event: object) -> None:
        self._put(Happened(self._now(), event))


def _key_in(directory: str) -> bytes:
    """The key for masks; another one each time if it can't be kept."""
    path = os.path.join(directory, _KEY_FILE)
    try:
        os.makedirs(directory, mode=0o700, exist_ok=True)
        with contextlib.suppress(FileNotFoundError), open(path, "rb") as file:
            if len(key := file.read(_KEY_BYTES + 1)) == _KEY_BYTES:
                return key
        key = secrets.token_bytes(_KEY_BYTES)
        part = f"{path}.{os.getpid()}"
        with open(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
            file.write(key)
        os.replace(part, path)
    except OSError:
        return secrets.token_bytes(_KEY_BYTES)
    return key


async def _within(future: asyncio.Future[_T]) -> _T:
    try:
        return await asyncio.wait_for(future, _COMMIT_SECONDS)
    except TimeoutError:
        raise JournalUnavailable("the disk doesn't answer, or another program holds it") from None
