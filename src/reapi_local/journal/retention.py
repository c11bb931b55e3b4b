"""Keeps the journal within its size and its age. What is oldest goes first.

Look-ups, processes, results and trees go long before the sums of runs and days, which are small.
"""

from __future__ import annotations

import sqlite3
from typing import Final

from reapi_local.journal.database import bytes_in_use
from reapi_local.journal.numbers import TOUCH_SECONDS
from reapi_local.journal.schema import DAY_SECONDS

_FULL: Final = 0.9
_ENOUGH: Final = 0.75
_SHARE: Final = 10
_ROWS: Final = 5000
_VACUUM_PAGES: Final = 2000
_MAX_STEPS: Final = 1000
_ALL: Final = 2**62
_OF_A_RUN: Final = (
    "DELETE FROM lookups WHERE id IN (SELECT id FROM lookups WHERE run = ?1 LIMIT ?2)",
    "DELETE FROM processes WHERE id IN (SELECT id FROM processes WHERE run = ?1 LIMIT ?2)",
)


def enforce(connection: sqlite3.Connection, max_bytes: int, oldest: float) -> bool:
    """Delete what is older than ``oldest``, and the oldest if it is too much; whether any was.

    Runs outside of a transaction: each step is one of its own.
    """
    deleted = _delete_older_than(connection, oldest)
    if bytes_in_use(connection) <= _FULL * max_bytes:
        return deleted
    return make_room(connection, round(_ENOUGH * max_bytes)) or deleted


def make_room(connection: sqlite3.Connection, target_bytes: int) -> bool:
    """Delete the oldest until so much is left; whether any was deleted."""
    deleted = False
    for _ in range(_MAX_STEPS):
        if bytes_in_use(connection) <= target_bytes:
            break
        if not (_delete_details(connection) or _delete_oldest_runs(connection)):
            break
        deleted = True
    connection.execute(f"PRAGMA incremental_vacuum({_VACUUM_PAGES})").fetchall()
    return deleted


def _delete_older_than(connection: sqlite3.Connection, oldest: float) -> bool:
    runs = _numbers(connection, "SELECT id FROM runs WHERE last_call_at < ?", oldest)
    for run in runs:
        _delete_run(connection, run)
    day = int(oldest // DAY_SECONDS)
    deleted = len(runs) + sum(
        connection.execute(f"DELETE FROM {table} WHERE day < ?", (day,)).rowcount
        for table in ("process_days", "cost_days")
    )
    return _delete_before(connection, oldest) + deleted > 0


def _delete_details(connection: sqlite3.Connection) -> bool:
    """Delete what is known beside the sums of the oldest tenth of runs, and what is as old."""
    [count] = connection.execute("SELECT count(*) FROM runs WHERE has_details").fetchone()
    runs = connection.execute(
        "SELECT id, last_call_at FROM runs WHERE has_details ORDER BY started_at LIMIT ?",
        (max(1, count // _SHARE),),
    ).fetchall()
    for run, _ in runs:
        _delete_details_of(connection, run)
    before = max((at for _, at in runs), default=None)
    deleted = _delete_before(connection, _early(connection) if before is None else before)
    return bool(runs) or deleted > 0


def _early(connection: sqlite3.Connection) -> float:
    """A time before which a tenth of the time lies that results and actions are of."""
    spans = [
        connection.execute(f"SELECT min({column}), max({column}) FROM {table}").fetchone()
        for table, column in (
            *(("results", "at"), ("executions", "at"), ("actions", "last_at")),
            *(("definitions", "last_at"), ("directories", "last_at")),
        )
    ]
    known = [(first, last) for first, last in spans if first is not None]
    if not known:
        return 0.0
    first, last = min(first for first, _ in known), max(last for _, last in known)
    return float(first + max(1e-3, (last - first) / _SHARE)) + TOUCH_SECONDS


def _delete_oldest_runs(connection: sqlite3.Connection) -> bool:
    """Delete the oldest runs, and the oldest days, altogether."""
    [count] = connection.execute("SELECT count(*) FROM runs").fetchone()
    runs = connection.execute(
        "SELECT id FROM runs ORDER BY started_at LIMIT ?", (max(1, count // _SHARE),)
    ).fetchall()
    for (run,) in runs:
        _delete_run(connection, run)
    days = sum(
        connection.execute(
            f"DELETE FROM {table} WHERE day = (SELECT min(day) FROM {table})"
        ).rowcount
        for table in ("process_days", "cost_days")
    )
    return len(runs) + days > 0


def _delete_run(connection: sqlite3.Connection, run: int) -> None:
    _delete_details_of(connection, run)
    connection.execute("DELETE FROM runs WHERE id = ?", (run,))


def _delete_details_of(connection: sqlite3.Connection, run: int) -> None:
    for statement in _OF_A_RUN:
        while connection.execute(statement, (run, _ROWS)).rowcount == _ROWS:
            pass
    connection.execute("UPDATE runs SET has_details = 0 WHERE id = ?", (run,))


def _delete_before(connection: sqlite3.Connection, cutoff: float) -> int:
    """Delete what belongs to no run and is older than ``cutoff``."""
    deleted = 0
    for table in ("results", "executions", "removals", "evictions"):
        # Rows are in the order of time.
        newest = f"SELECT id FROM {table} WHERE at >= ? ORDER BY id LIMIT 1"
        row = connection.execute(newest, (cutoff,)).fetchone()
        deleted += _delete(connection, table, "id", "id < ?", row[0] if row else _ALL)
    deleted += _delete(connection, "trees", "root", "at < ?", cutoff)
    for table in ("directories", "actions", "definitions"):
        used = cutoff - TOUCH_SECONDS
        deleted += _delete(connection, table, "id", "last_at < ?", used)
    return deleted


def _delete(connection: sqlite3.Connection, table: str, key: str, which: str, value: float) -> int:
    """Delete rows in steps; returns how many."""
    deleted = 0
    statement = (
        f"DELETE FROM {table} WHERE {key} IN"
        f" (SELECT {key} FROM {table} WHERE {which} LIMIT {_ROWS})"
    )
    while rows := connection.execute(statement, (value,)).rowcount:
        deleted += rows
    return deleted


def _numbers(connection: sqlite3.Connection, query: str, value: float) -> list[int]:
    return [int(number) for (number,) in connection.execute(query, (value,)).fetchall()]
