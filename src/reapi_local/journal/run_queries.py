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
from reapi_local.journal.lookups import Lookup, lookups_of
from reapi_local.journal.schema import OUTCOMES
from reapi_local.protocol.digest import Digest, DigestFunction, make_digest
from reapi_local.protocol.lookup import MissReason

MAX_PROCESSES: Final = 5000
MAX_LOOKUPS: Final = 20_000
_MAX_BYTES: Final = 16 * 1024 * 1024
"""Of the reports in one answer; with more, the launcher would not take it."""

_RUN: Final = (
    "SELECT run, instance, tool, started_at, last_call_at, hits, misses, hit_bytes, hit_ms, report"
    " FROM runs"
)


_PROCESS: Final = (
    "SELECT body, span, processes.description, goal, targets, source, asked, exit_code,"
    " started_at, elapsed_ms, saved_ms, actions.key, size_bytes FROM processes"
    " JOIN definitions ON definitions.id = processes.definition"
    " LEFT JOIN actions ON actions.id = processes.action"
)


def newest_runs(
    connection: sqlite3.Connection, instance: str | None, limit: int
) -> list[RunSummary]:
    """At most ``limit`` runs, the latest start first; ``instance`` None = of all instances.

    Fewer if their reports are very long.
    """
    where, values = ("", ()) if instance is None else (" WHERE instance = ?", (instance,))
    rows = connection.execute(
        f"{_RUN}{where} ORDER BY started_at DESC, id DESC LIMIT ?", (*values, limit)
    )
    found: list[RunSummary] = []
    size = 0
    for row in rows:
        size += len(row[-1] or "")
        if found and size > _MAX_BYTES:
            break
        found.append(_summary(row))
    return found


def run_summary(connection: sqlite3.Connection, run: str, instance: str) -> RunSummary | None:
    """What is known of one run; None if there is none of that name."""
    row = connection.execute(f"{_RUN} WHERE run = ? AND instance = ?", (run, instance)).fetchone()
    return None if row is None else _summary(row)


def run_details(
    connection: sqlite3.Connection, run: str, instance: str | None
) -> RunDetails | None:
    """The latest run of that name, or the latest whose name ends so; None if there is none."""
    found = connection.execute(
        f"{_RUN.replace('SELECT ', 'SELECT id, ')} WHERE substr(run, -length(?1)) = ?1"
        " AND (?2 IS NULL OR instance = ?2) ORDER BY run = ?1 DESC, started_at DESC LIMIT 1",
        (run, instance),
    ).fetchone()
    if found is None:
        return None
    number, *row = found
    processes, is_whole = _processes(connection, number)
    lookups = _lookups(connection, number)
    return RunDetails(
        run=_summary(row),
        processes=tuple(processes),
        lookups=tuple(lookups[:MAX_LOOKUPS]),
        truncated=not is_whole or len(lookups) > MAX_LOOKUPS,
    )


def has_tree(connection: sqlite3.Connection, root: Digest) -> bool:
    """Whether the Directories of an input root are kept."""
    return bool(connection.execute("SELECT 1 FROM trees WHERE root = ?", (root,)).fetchone())


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


def _processes(connection: sqlite3.Connection, run: int) -> tuple[list[KnownProcess], bool]:
    """The processes of a run, and whether these are all."""
    found: list[KnownProcess] = []
    size = 0
    rows = connection.execute(
        f"{_PROCESS} WHERE run = ? ORDER BY processes.id LIMIT ?", (run, MAX_PROCESSES + 1)
    )
    for packed, *row in rows:
        body = definitions.decompressed(packed)
        size += len(body)
        if found and (size > _MAX_BYTES or len(found) == MAX_PROCESSES):
            return found, False
        found.append(_known_process(definitions.decoded(body), row))
    return found, True


def _known_process(definition: ProcessReport, row: Sequence[Any]) -> KnownProcess:
    span, description, goal, targets, source, asked, exit_code, *times, key, size = row
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
    """The last look-up of each action, in the order of time."""
    last = {lookup.action: lookup for lookup in lookups_of(connection, run)}
    found = sorted(last.values())[: MAX_LOOKUPS + 1]
    return [
        LookupRecord(name, lookup.at, OUTCOMES[lookup.outcome], missing_of(connection, lookup))
        for lookup in found
        if (name := action_named(connection, lookup.action))
    ]


def action_named(connection: sqlite3.Connection, number: int) -> str:
    row = connection.execute(
        "SELECT key, size_bytes FROM actions WHERE id = ?", (number,)
    ).fetchone()
    return action_name(*row) if row else ""


def missing_of(connection: sqlite3.Connection, lookup: Lookup) -> tuple[str, ...]:
    """The blobs for which an entry was removed when it was looked up."""
    if OUTCOMES[lookup.outcome] != MissReason.INCOMPLETE:
        return ()
    row = connection.execute(
        "SELECT missing FROM removals WHERE action = ? AND at <= ? ORDER BY id DESC LIMIT 1",
        (lookup.action, lookup.at),
    ).fetchone()
    return tuple(row[0].split()) if row else ()
