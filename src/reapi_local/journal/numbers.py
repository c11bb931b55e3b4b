"""The numbers of runs and actions in the journal, the latest of them remembered."""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass
from typing import Final

from cachetools import LRUCache

from reapi_local.journal.schema import DAY_SECONDS
from reapi_local.protocol.digest import Digest

_MAX_RUNS: Final = 1000
_MAX_ACTIONS: Final = 20_000


@dataclass
class KnownAction:
    """``day``: when the row was touched last. ``is_read``: its definition is known or asked for."""

    number: int
    day: int
    is_read: bool
    output_bytes: int | None
    ran_ms: int | None


class Numbers:
    """Finds rows of runs and actions by their names, and makes those that are missing."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self._runs: LRUCache[tuple[str, str], int] = LRUCache(_MAX_RUNS)
        self._actions: LRUCache[bytes, KnownAction] = LRUCache(_MAX_ACTIONS)

    def forget(self) -> None:
        """After a rollback, or a deletion of rows."""
        self._runs.clear()
        self._actions.clear()

    def run(self, run: str, instance: str, tool: str, at: float) -> int:
        """The number of a run."""
        number = self._runs.get((run, instance))
        if number is not None:
            return number
        execute, name = self._connection.execute, (run, instance)
        row = execute("SELECT id FROM runs WHERE run = ? AND instance = ?", name).fetchone()
        if row is None:
            made = execute(
                "INSERT INTO runs (run, instance, tool, started_at, last_call_at)"
                " VALUES (?, ?, ?, ?, ?)",
                (run, instance, tool, at, at),
            )
            row = (made.lastrowid,)
        self._runs[run, instance] = int(row[0])
        return int(row[0])

    def action(self, action: Digest, at: float) -> KnownAction:
        """The row of an action."""
        key, day = action.without_size, int(at // DAY_SECONDS)
        known = self._actions.get(key)
        if known is None:
            known = self._actions[key] = self._found(key, action, at)
        if known.day != day:
            known.day = day
            self._connection.execute(
                "UPDATE actions SET last_at = ? WHERE id = ?", (at, known.number)
            )
        return known

    def _found(self, key: bytes, action: Digest, at: float) -> KnownAction:
        execute = self._connection.execute
        row = execute(
            "SELECT id, last_at, definition, output_bytes, ran_ms FROM actions WHERE key = ?",
            (key,),
        ).fetchone()
        if row is not None:
            number, last_at, definition, output_bytes, ran_ms = row
            day = int(last_at // DAY_SECONDS)
            return KnownAction(number, day, definition is not None, output_bytes, ran_ms)
        made = execute(
            "INSERT INTO actions (key, size_bytes, last_at) VALUES (?, ?, ?)",
            (key, action.size_bytes, at),
        )
        return KnownAction(made.lastrowid or 0, int(at // DAY_SECONDS), False, None, None)
