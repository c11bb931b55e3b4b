"""Reads runs of the journal, with their processes and look-ups."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Final

from reapi_contract.admin_api import RunSummary
from reapi_contract.json_records import from_json
from reapi_contract.run_details import KnownProcess, LookupRecord, RunDetails
from reapi_contract.run_reports import ProcessReport, RunReport
from reapi_local.journal import definitions
from reapi_local.journal.schema import OUTCOMES
from reapi_local.protocol.digest import DigestFunction, make_digest

MAX_PROCESSES: Final = 5000
MAX_LOOKUPS: Final = 20_000

_RUN: Final = (
    "SELECT run, instance, tool, started_at, last_call_at, hits, misses, hit_bytes, hit_ms, report"
    " FROM runs"
)


def newest_runs(
    connection: sqlite3.Connection, instance: str | None, limit: int
) -> list[RunSummary]:
    """At most ``limit`` runs, the latest start first; ``instance`` None = of all instances."""
    where, values = ("", ()) if instance is None else (" WHERE instance = ?", (instance,))
    rows = connection.execute(
        f"{_RUN}{where} ORDER BY started_at DESC, id DESC LIMIT ?", (*values, limit)
    )
    return [_summary(row) for row in rows]


def run_details(
    connection: sqlite3.Connection, run: str, instance: str | None
) -> RunDetails | None:
    """The run of that name, the latest if several instances have it; None if there is none."""
    found = connection.execute(
        f"{_RUN.replace('SELECT ', 'SELECT id, ')} WHERE run = ?1 AND (?2 IS NULL OR instance = ?2)"
        " ORDER BY started_at DESC LIMIT 1",
        (run, instance),
    ).fetchone()
    if found is None:
        return None
    number, *row = found
    processes = _processes(connection, number)
    lookups = _lookups(connection, number)
    return RunDetails(
        run=_summary(row),
        processes=tuple(processes[:MAX_PROCESSES]),
        lookups=tuple(lookups[:MAX_LOOKUPS]),
        truncated=len(processes) > MAX_PROCESSES or len(lookups) > MAX_LOOKUPS,
    )


def action_name(key: bytes, size_bytes: int) -> str:
    """The digest of an action as "HASH/SIZE"."""
    return str(make_digest(DigestFunction(key[0]), key[1:], size_bytes))


def _summary(row: Sequence[Any]) -> RunSummary:
    run, instance, tool, started_at, last_call_at, hits, misses, hit_bytes, hit_ms, report = row
    summary = RunSummary(
        *(run, tool, instance, started_at, last_call_at, hits, misses),
        saved_bytes=hit_bytes,
        saved_ms=hit_ms,
    )
    if report is None:
        return summary
    told = from_json(RunReport, json.loads(report))
    return replace(
        summary,
        reported=True,
        saved_ms=told.saved_ms,
        asked=told.asked,
        cached=told.cached,
        uncached=told.uncached,
        user=told.user,
        machine=told.machine,
        root=told.root,
        command_line=told.command_line,
        goals=told.goals,
        ended_at=told.ended_at,
        outcome=told.outcome,
        executes=told.executes,
    )


def _processes(connection: sqlite3.Connection, run: int) -> list[KnownProcess]:
    rows = connection.execute(
        "SELECT body, span, processes.description, goal, targets, source, asked, exit_code,"
        " started_at, elapsed_ms, saved_ms, key, size_bytes FROM processes"
        " JOIN (SELECT id, body FROM definitions) AS d ON d.id = processes.definition"
        " LEFT JOIN actions ON actions.id = processes.action"
        " WHERE run = ? ORDER BY processes.id LIMIT ?",
        (run, MAX_PROCESSES + 1),
    )
    return [_known_process(row) for row in rows]


def _known_process(row: Sequence[Any]) -> KnownProcess:
    body, span, description, goal, targets, source, asked, exit_code, *times, key, size = row
    definition: ProcessReport = definitions.decoded(definitions.decompressed(body))
    started_at, elapsed_ms, saved_ms = times
    process = replace(
        definition,
        span=span,
        description=description,
        goal=goal,
        targets=tuple(json.loads(targets)),
        source=source,
        asked=bool(asked),
        exit_code=exit_code,
        started_at=started_at,
        elapsed_ms=elapsed_ms,
        saved_ms=saved_ms,
    )
    return KnownProcess(process, "" if key is None else action_name(key, size))


def _lookups(connection: sqlite3.Connection, run: int) -> list[LookupRecord]:
    rows = connection.execute(
        "SELECT key, size_bytes, at, outcome, missing FROM lookups"
        " JOIN actions ON actions.id = lookups.action WHERE run = ? ORDER BY at LIMIT ?",
        (run, MAX_LOOKUPS + 1),
    )
    return [
        LookupRecord(
            action_name(key, size), at, OUTCOMES[outcome], tuple(missing.split()) if missing else ()
        )
        for key, size, at, outcome, missing in rows
    ]
