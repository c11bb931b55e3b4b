"""The thread that puts entries into the database, a batch in one transaction.

It never gives up: while the database can't be written, because the disk is full or another program
holds a lock, it keeps the batch and tries again, and the intake drops what finds no room.
"""

from __future__ import annotations

import asyncio
import logging
import os
import sqlite3
import threading
from collections.abc import Callable
from typing import Any, Final, TypeVar

from reapi_contract.masks import Masks
from reapi_local.clock import Clock
from reapi_local.journal import database, retention
from reapi_local.journal.entries import (
    ActionRead,
    Barrier,
    Effects,
    Happened,
    Reported,
    TreeRead,
)
from reapi_local.journal.events_kept import EventsKept
from reapi_local.journal.intake import Intake
from reapi_local.journal.numbers import Numbers
from reapi_local.journal.reports_kept import ReportsKept

_log = logging.getLogger(__name__)
_T = TypeVar("_T")

BATCH_SECONDS: Final = 0.25
"""How long entries are gathered; with the commit it is less than a second."""

_BATCH: Final = 5000
_RETRY_SECONDS: Final = 1.0
_CLOSE_SECONDS: Final = 5.0
_ROUNDS_BETWEEN_CHECKS: Final = 20
_LEFT_WHEN_FULL: Final = 0.75
_LITTLE_BYTES: Final = 1024 * 1024


class Bounds:
    """The largest size in bytes and the greatest age in seconds of what is kept."""

    def __init__(self, max_bytes: int, max_age: float) -> None:
        self.max_bytes, self.max_age = max_bytes, max_age

    def oldest(self, now: float) -> float:
        """The time from which on things are kept; 0 for no limit of age."""
        return now - self.max_age if self.max_age else 0.0


class Writer:
    """Writes what the intake has. ``follow`` is called on the event loop after each commit.

    ``trouble``: why the database can't be written now, "" if it can.
    """

    def __init__(
        self,
        directory: str,
        bounds: Bounds,
        intake: Intake,
        clock: Clock,
        masks: Masks,
        label: Callable[[str], str],
        follow: Callable[[Effects], object],
    ) -> None:
        self._directory, self._bounds, self._intake, self._clock = directory, bounds, intake, clock
        self._masks, self._label, self._follow = masks, label, follow
        self._connection: sqlite3.Connection | None = None
        self.trouble = ""
        self._has_left_out = False
        self._dropped = 0
        self._rounds = 0
        self._closing = threading.Event()
        self._loop = asyncio.get_running_loop()
        self._thread = threading.Thread(target=self._run, name="journal", daemon=True)

    def start(self) -> None:
        """Start the thread, which opens the database."""
        self._thread.start()
        self._intake.hurry()

    def close(self) -> None:
        """Write what there is, and end the thread; a disk that doesn't answer isn't waited for."""
        self._closing.set()
        self._intake.hurry()
        self._thread.join(_CLOSE_SECONDS)

    def suspect(self) -> None:
        """A reader has met damage: look whether the file is damaged. For any thread."""
        self._rounds = -1
        self._intake.hurry()

    def _run(self) -> None:
        self._write([])
        while not self._closing.is_set():
            self._intake.wait(BATCH_SECONDS)
            self._write(self._intake.take(_BATCH))
        while rest := self._intake.take(_BATCH):
            self._write(rest)
        self._close_connection()

    def _write(self, entries: list[Any]) -> None:
        """Commit the entries; returns when that succeeded, or when the server stops."""
        while True:
            try:
                effects = self._commit(entries)
            except Exception as error:
                if self._mended(error):
                    continue
                if not self._may_pass(error):
                    self._leave_out(entries)
                    return
                self._tell(str(error))
                if self._closing.wait(_RETRY_SECONDS):
                    return
            else:
                self._tell("")
                self._after(effects)
                self._tend()
                return

    def _leave_out(self, entries: list[Any]) -> None:
        """Find the entry that can't be kept: write the others."""
        if len(entries) > 1:
            for entry in entries:
                self._write([entry])
        elif not self._has_left_out:
            self._has_left_out = True
            _log.exception("an entry can't be kept in the journal, and is left out")

    def _commit(self, entries: list[Any]) -> Effects:
        effects = Effects()
        if self._connection is None:
            self._open()
        connection = self._connection
        assert connection is not None
        try:
            connection.execute("BEGIN IMMEDIATE")
            self._events.expect(entry.event for entry in entries if type(entry) is Happened)
            for entry in entries:
                self._keep(entry, effects)
            self._events.flush()
            self._count_dropped(connection)
            connection.execute("COMMIT")
        except BaseException:
            self._roll_back(connection)
            raise
        return effects

    def _open(self) -> None:
        self._connection = database.open_to_write(self._directory, self._bounds.max_bytes)
        self._numbers = Numbers(self._connection)
        self._events = EventsKept(self._connection, self._numbers, self._label)
        self._reports = ReportsKept(self._connection, self._numbers, self._masks)

    def _keep(self, entry: Any, effects: Effects) -> None:
        if type(entry) is Happened:
            self._events.keep(*entry, effects)
        elif isinstance(entry, Reported):
            self._events.flush()
            kept = self._reports.keep(entry, effects)
            effects.then.append(_setting(entry.kept, kept))
        elif isinstance(entry, ActionRead):
            self._reports.keep_action(entry)
        elif isinstance(entry, TreeRead):
            self._reports.keep_tree(entry)
        elif isinstance(entry, Barrier):
            effects.then.append(_setting(entry.reached, None))

    def _count_dropped(self, connection: sqlite3.Connection) -> None:
        dropped = self._intake.dropped
        if dropped != self._dropped:
            connection.execute(
                "INSERT INTO counts VALUES ('dropped', ?) ON CONFLICT (name)"
                " DO UPDATE SET number = number + excluded.number",
                (dropped - self._dropped,),
            )
            self._dropped = dropped

    def _roll_back(self, connection: sqlite3.Connection) -> None:
        if connection.in_transaction:
            try:
                connection.execute("ROLLBACK")
            except sqlite3.Error:
                connection.close()
                self._connection = None
        self._numbers.forget()
        self._events.forget()

    def _tend(self) -> None:
        """From time to time: look for damage if there may be some, and keep the bounds."""
        connection, bounds = self._connection, self._bounds
        assert connection is not None
        try:
            if self._rounds < 0:
                self._check(connection)
            elif self._rounds % _ROUNDS_BETWEEN_CHECKS == 0:
                oldest = bounds.oldest(self._clock.now())
                if retention.enforce(connection, bounds.max_bytes, oldest):
                    self._numbers.forget()
            self._rounds += 1
        except sqlite3.Error as error:
            self._mended(error)

    def _check(self, connection: sqlite3.Connection) -> None:
        if not os.path.exists(os.path.join(self._directory, database.FILE)):
            self._close_connection()
            return
        [found] = connection.execute("PRAGMA quick_check(1)").fetchone()
        if found != "ok":
            raise database.damage(str(found))

    def _mended(self, error: Exception) -> bool:
        """Whether it is worth trying again at once."""
        code = database.code_of(error)
        if code in database.DAMAGE:
            self._close_connection()
            try:
                database.set_aside(self._directory, error)
            except OSError as other:
                self._tell(str(other))
                return False
            return True
        if code == sqlite3.SQLITE_FULL and not self._is_disk_full():
            return self._made_room()
        if code not in database.LOCKED:
            self._close_connection()
        return False

    def _made_room(self) -> bool:
        """The journal has its largest size: delete a part of it, whether that is possible."""
        connection = self._connection
        if connection is None:
            return False
        target = round(database.bytes_in_use(connection) * _LEFT_WHEN_FULL)
        try:
            return retention.make_room(connection, target)
        except sqlite3.Error:
            return False
        finally:
            self._numbers.forget()

    def _is_disk_full(self) -> bool:
        found = os.statvfs(self._directory)
        return found.f_bavail * found.f_frsize < _LITTLE_BYTES

    def _may_pass(self, error: Exception) -> bool:
        """Whether the error is about the file or its disk, and not about what is written."""
        if database.code_of(error) == sqlite3.SQLITE_FULL:
            return self._is_disk_full()
        return isinstance(error, OSError) or database.code_of(error) in database.PASSING

    def _close_connection(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _tell(self, trouble: str) -> None:
        """Log what is wrong once, and when it is over."""
        if trouble and not self.trouble:
            place = os.path.join(self._directory, database.FILE)
            _log.error("the journal %s can't be written, and is tried again: %s", place, trouble)
        elif self.trouble and not trouble:
            _log.info("the journal is written again")
        self.trouble = trouble

    def _after(self, effects: Effects) -> None:
        if effects.then or effects.unread or effects.roots:
            try:
                self._loop.call_soon_threadsafe(self._follow, effects)
            except RuntimeError:  # the event loop has ended
                return


def _setting(future: asyncio.Future[_T], value: _T) -> Callable[[], None]:
    """Sets the result on the event loop, unless nobody waits for it any more."""

    def call() -> None:
        if not future.done():
            future.set_result(value)

    return call
