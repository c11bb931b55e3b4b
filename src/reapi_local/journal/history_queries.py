"""Reads what is known of an action: its process, results, executions and removals."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from typing import Any, Final

from reapi_contract.action_history import (
    ActionHistory,
    EvictionRecord,
    ExecutionRecord,
    RemovalRecord,
    ResultRecord,
)
from reapi_contract.run_reports import ProcessReport
from reapi_local.journal import definitions
from reapi_local.journal.run_queries import action_name
from reapi_local.protocol.digest import Digest

_MAX_ROWS: Final = 100


def action_history(connection: sqlite3.Connection, action: Digest) -> ActionHistory | None:
    """What is known of an action; None if nothing is."""
    row = connection.execute(
        "SELECT actions.id, actions.key, size_bytes, body FROM actions"
        " LEFT JOIN definitions ON definitions.id = definition WHERE actions.key = ?",
        (action.without_size,),
    ).fetchone()
    if row is None:
        return None
    number, key, size_bytes, body = row
    results = _rows(connection, "instance, at, writer, run, executed, exit_code", "results", number)
    first = min((row[1] for row in results), default=None)
    return ActionHistory(
        action=action_name(key, size_bytes),
        process=ProcessReport()
        if body is None
        else definitions.decoded(definitions.decompressed(body)),
        results=tuple(
            ResultRecord(instance, at, writer, run, bool(executed), exit_code)
            for instance, at, writer, run, executed, exit_code in results
        ),
        executions=_executions(connection, number),
        removals=tuple(
            RemovalRecord(instance, at, reason, tuple(missing.split()))
            for instance, at, reason, missing in _rows(
                connection, "instance, at, reason, coalesce(missing, '')", "removals", number
            )
        ),
        evictions=_evictions_since(connection, first),
    )


def _rows(
    connection: sqlite3.Connection, columns: str, table: str, action: int
) -> list[Sequence[Any]]:
    return connection.execute(
        f"SELECT {columns} FROM {table} WHERE action = ? ORDER BY id DESC LIMIT {_MAX_ROWS}",
        (action,),
    ).fetchall()


def _executions(connection: sqlite3.Connection, action: int) -> tuple[ExecutionRecord, ...]:
    rows = connection.execute(
        "SELECT executions.instance, at, coalesce(runs.run, ''), queued_ms, executions.ran_ms,"
        " code, exit_code FROM executions LEFT JOIN runs ON runs.id = executions.run"
        f" WHERE action = ? ORDER BY executions.id DESC LIMIT {_MAX_ROWS}",
        (action,),
    )
    return tuple(ExecutionRecord(*row) for row in rows)


def _evictions_since(
    connection: sqlite3.Connection, since: float | None
) -> tuple[EvictionRecord, ...]:
    if since is None:
        return ()
    rows = connection.execute(
        "SELECT at, bytes_before, bytes_after FROM evictions WHERE at >= ?"
        f" ORDER BY id DESC LIMIT {_MAX_ROWS}",
        (since,),
    )
    return tuple(EvictionRecord(*row) for row in rows)
