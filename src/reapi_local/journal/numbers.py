"""The rows of runs and actions, the latest of them remembered.

Only the writer adds rows, so it chooses their numbers, and adds and changes many of them at once.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Sequence
from typing import Any, Final

from reapi_local.protocol.digest import Digest

TOUCH_SECONDS: Final = 3600.0
"""``last_at`` of a row that is used is not older than this."""

_MAX_RUNS: Final = 1000
_MAX_ACTIONS: Final = 50_000
_AT_ONCE: Final = 500
_ACTION: Final = (
    "SELECT key, id, last_at, definition IS NOT NULL, output_bytes, ran_ms FROM actions"
)


class KnownAction:
    """The row of an action. ``is_read``: its definition is known, or asked for."""

    __slots__ = ("is_read", "last_at", "number", "output_bytes", "ran_ms")

    def __init__(
        self,
        number: int,
        last_at: float,
        is_read: bool = False,
        output_bytes: int | None = None,
        ran_ms: int | None = None,
    ) -> None:
        self.number, self.last_at, self.is_read = number, last_at, is_read
        self.output_bytes, self.ran_ms = output_bytes, ran_ms


class Numbers:
    """Finds rows by the names of runs and actions, and makes those that are missing.

    :meth:`flush` writes the rows of actions that are new or changed.
    """

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self._runs: dict[tuple[str, str], int] = {}
        self._actions: dict[Digest, KnownAction] = {}
        self.forget()

    def forget(self) -> None:
        """After a rollback, or a deletion of rows."""
        self._runs.clear()
        self._actions.clear()
        self._new: dict[KnownAction, Digest] = {}
        self._changed: set[KnownAction] = set()
        self._absent: set[Digest] = set()
        [last] = self._connection.execute("SELECT max(id) FROM actions").fetchone()
        self._next = (last or 0) + 1

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
        if len(self._runs) >= _MAX_RUNS:
            self._runs.clear()
        self._runs[run, instance] = int(row[0])
        return int(row[0])

    def action(self, action: Digest, at: float) -> KnownAction:
        """The row of an action, as one that is used now."""
        known = self._actions.get(action)
        if known is None:
            if len(self._actions) >= _MAX_ACTIONS:
                self._actions.clear()
            known = self._actions[action] = self._found(action, at)
        if at - known.last_at > TOUCH_SECONDS:
            known.last_at = at
            self.changed(known)
        return known

    def changed(self, known: KnownAction) -> None:
        """Write that row at the next flush."""
        if known not in self._new:
            self._changed.add(known)

    def flush(self) -> None:
        """Write all rows that are new or changed."""
        many = self._connection.executemany
        if self._new:
            many(
                "INSERT OR IGNORE INTO actions (id, key, size_bytes, last_at, output_bytes, ran_ms)"
                " VALUES (?, ?, ?, ?, ?, ?)",
                [
                    (
                        *(known.number, action.without_size, action.size_bytes, known.last_at),
                        *(known.output_bytes, known.ran_ms),
                    )
                    for known, action in self._new.items()
                ],
            )
            self._new = {}
            self._absent.clear()
        if self._changed:
            many(
                "UPDATE actions SET last_at = ?, output_bytes = ?, ran_ms = ? WHERE id = ?",
                [
                    (known.last_at, known.output_bytes, known.ran_ms, known.number)
                    for known in self._changed
                ],
            )
            many(
                "UPDATE definitions SET last_at = ? WHERE id ="
                " (SELECT definition FROM actions WHERE actions.id = ?)",
                [(known.last_at, known.number) for known in self._changed],
            )
            self._changed = set()

    def expect(self, actions: Iterable[Digest]) -> None:
        """Find the rows of these actions that are about to be used, many with one query."""
        unknown = list({action for action in actions if action not in self._actions})
        if len(self._actions) + len(unknown) > _MAX_ACTIONS:
            self._actions.clear()
        for start in range(0, len(unknown), _AT_ONCE):
            self._find(unknown[start : start + _AT_ONCE])

    def _find(self, actions: Sequence[Digest]) -> None:
        rows = self._connection.execute(
            f"{_ACTION} WHERE key IN ({','.join('?' * len(actions))})",
            [action.without_size for action in actions],
        )
        found = {key: _known(values) for key, *values in rows}
        for action in actions:
            known = found.get(action.without_size)
            if known is not None:
                self._actions[action] = known
            else:
                self._absent.add(action)

    def _found(self, action: Digest, at: float) -> KnownAction:
        if action in self._absent:
            self._absent.discard(action)
        else:
            key = (action.without_size,)
            row = self._connection.execute(f"{_ACTION} WHERE key = ?", key).fetchone()
            if row is not None:
                return _known(row[1:])
        known = KnownAction(self._next, at)
        self._next += 1
        self._new[known] = action
        return known


def _known(row: Sequence[Any]) -> KnownAction:
    number, last_at, is_read, output_bytes, ran_ms = row
    return KnownAction(number, last_at, bool(is_read), output_bytes, ran_ms)
