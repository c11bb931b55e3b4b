"""Reads processes, and what the cache knew of them, from the journal."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from google.protobuf.message import DecodeError

from reapi_contract.admin_api import RunSummary
from reapi_contract.json_records import from_json
from reapi_contract.run_reports import RAN, ProcessReport, RunReport
from reapi_local.explain.process import SALT, Definition, Origin, Process
from reapi_local.explain.verdict import CacheFacts
from reapi_local.journal import definitions
from reapi_local.journal.lookups import Lookup, lookups_of
from reapi_local.journal.run_queries import action_named, missing_of, run_summary
from reapi_local.journal.schema import OUTCOMES
from reapi_local.proto import remote_execution_pb2 as re_pb2
from reapi_local.protocol.digest import Digest
from reapi_local.protocol.lookup import MissReason

_MOST_EARLIER: Final = 50
_MOST_OF_RUN: Final = 10_000
_MOST_EARLIER_BYTES: Final = 8 * 1024 * 1024
_MOST_RUN_BYTES: Final = 32 * 1024 * 1024
_MOST_DIRECTORY_BYTES: Final = 32 * 1024 * 1024
"""What an explanation has in memory at a time, so that no report can make it take gigabytes."""
_LOCAL: Final = "Local"
_COLUMNS: Final = (
    "processes.id, processes.run, processes.span, processes.description, processes.targets,"
    " processes.source, processes.asked, processes.exit_code, processes.started_at,"
    " processes.elapsed_ms, processes.input_root, processes.link, processes.action,"
    " runs.run, runs.instance, runs.report, definitions.body"
)
_FROM: Final = (
    " FROM processes JOIN runs ON runs.id = processes.run"
    " JOIN definitions ON definitions.id = processes.definition"
)


@dataclass(frozen=True)
class Row:
    """A process, and where it is in the journal; ``action``: the number of its action."""

    process: Process
    id: int
    run: int
    targets: tuple[str, ...]
    link: bytes
    action: int | None


def find_run(
    connection: sqlite3.Connection, run: str, instance: str | None
) -> tuple[int, RunSummary] | None:
    """The number of a run, and what is known of it.

    ``run``: its name, or the end of it; "" = the newest that asked the cache, or that ran
    processes while it was told not to ask.
    """
    found = connection.execute(
        "SELECT id, run, instance FROM runs WHERE (substr(run, -length(?1)) = ?1 OR ?1 = '' AND"
        " (hits + misses > 0 OR asked > 0 OR"
        " ran_ms > 0 AND report IS NOT NULL AND NOT json_extract(report, '$.reads')))"
        " AND (?2 IS NULL OR instance = ?2)"
        " ORDER BY run = ?1 DESC, started_at DESC LIMIT 1",
        (run, instance),
    ).fetchone()
    if found is None:
        return None
    number, name, of_instance = found
    summary = run_summary(connection, name, of_instance)
    return None if summary is None else (number, summary)


class JournalReader:
    """Over a connection that only reads.

    ``instance``: the only one of which anything is told; None for all.
    """

    def __init__(self, connection: sqlite3.Connection, instance: str | None) -> None:
        self._connection, self._instance = connection, instance
        self._directory_bytes = 0
        self._lookups_of: dict[int, dict[int, Lookup]] = {}
        self._directories: dict[Digest, re_pb2.Directory | None] = {}

    def ran(self, run: int) -> list[Row]:
        """The processes of a run that ran, in the order in which they began."""
        return self._rows(
            _MOST_RUN_BYTES,
            "processes.run = ? AND source = ? ORDER BY processes.started_at LIMIT ?",
            (run, RAN, _MOST_OF_RUN),
        )

    def how_many_ran(self, run: int) -> int:
        """How many processes of a run ran."""
        [count] = self._connection.execute(
            "SELECT count(*) FROM processes WHERE run = ? AND source = ?", (run, RAN)
        ).fetchone()
        return int(count)

    def earlier(self, row: Row) -> list[Row]:
        """Processes of other runs before that may be the same one, the latest first."""
        alike = self._before("processes.description", row.process.description, row)
        equal = self._before("processes.link", row.link, row)
        found = {one.id: one for one in (*alike, *equal)}
        return sorted(found.values(), key=lambda one: -one.id)

    def facts(self, row: Row) -> CacheFacts:
        """What the cache knew when the run looked the action up."""
        if row.action is None:
            return CacheFacts()
        lookup = self._lookups(row.run).get(row.action)
        if lookup is None:
            return CacheFacts()
        outcome = OUTCOMES[lookup.outcome]
        if outcome == OUTCOMES[0]:
            return CacheFacts(was_hit=True)
        written_at = self._written_before(row, lookup.at)
        return CacheFacts(
            MissReason(outcome),
            missing_of(self._connection, lookup),
            written_at,
            self._evicted_after(written_at, lookup.at) if written_at else 0.0,
        )

    def directory(self, digest: Digest) -> re_pb2.Directory | None:
        """A Directory of an input root that the journal has kept."""
        if digest not in self._directories:
            if self._directory_bytes > _MOST_DIRECTORY_BYTES:
                self._directories.clear()
                self._directory_bytes = 0
            self._directories[digest] = self._read_directory(digest)
            self._directory_bytes += digest.size_bytes
        return self._directories[digest]

    def action_digest(self, number: int | None) -> str:
        """The digest of an action, "HASH/SIZE"; "" for none."""
        return "" if number is None else action_named(self._connection, number)

    def _lookups(self, run: int) -> dict[int, Lookup]:
        """The last look-up of each action of a run."""
        if run not in self._lookups_of:
            found = lookups_of(self._connection, run)
            self._lookups_of[run] = {lookup.action: lookup for lookup in found}
        return self._lookups_of[run]

    def _before(self, column: str, value: object, row: Row) -> list[Row]:
        return self._rows(
            _MOST_EARLIER_BYTES,
            f"{column} = ? AND processes.id < ? AND processes.run != ?"
            " AND (? IS NULL OR runs.instance = ?) ORDER BY processes.id DESC LIMIT ?",
            (value, row.id, row.run, self._instance, self._instance, _MOST_EARLIER),
        )

    def _rows(self, max_bytes: int, where: str, values: Sequence[object]) -> list[Row]:
        """Rows until their definitions have ``max_bytes``."""
        found: list[Row] = []
        size = 0
        for *row, packed in self._connection.execute(
            f"SELECT {_COLUMNS}{_FROM} WHERE {where}", values
        ):
            body = definitions.decompressed(packed)
            size += len(body)
            if found and size > max_bytes:
                break
            found.append(_row(row, definitions.decoded(body)))
        return found

    def _written_before(self, row: Row, at: float) -> float:
        [written_at] = self._connection.execute(
            "SELECT max(at) FROM results WHERE action = ? AND instance = ? AND at < ?",
            (row.action, row.process.origin.instance, at),
        ).fetchone()
        return float(written_at or 0.0)

    def _evicted_after(self, written_at: float, before: float) -> float:
        [evicted_at] = self._connection.execute(
            "SELECT max(at) FROM evictions WHERE at BETWEEN ? AND ?", (written_at, before)
        ).fetchone()
        return float(evicted_at or 0.0)

    def _read_directory(self, digest: Digest) -> re_pb2.Directory | None:
        if not digest.size_bytes:
            return re_pb2.Directory()
        row = self._connection.execute(
            "SELECT body FROM directories WHERE digest = ?", (bytes(digest),)
        ).fetchone()
        if row is None:
            return None
        try:
            return re_pb2.Directory.FromString(definitions.decompressed(row[0]))
        except DecodeError:
            return None


def _row(row: Sequence[Any], definition: ProcessReport) -> Row:
    id_, run, span, description, targets, source, asked, exit_code, started_at, *rest = row
    elapsed_ms, input_root, link, action, run_name, instance, report = rest
    told = from_json(RunReport, json.loads(report) if report else None)
    process = Process(
        span,
        description,
        definition_of(definition, told, input_root),
        Origin(
            run_name,
            instance,
            told.machine,
            f"{told.tool} {told.tool_version}".strip(),
            told.plugin_version,
            started_at,
            told.reads,
            told.writes,
        ),
        ran=source == RAN,
        was_asked=bool(asked),
        exit_code=exit_code,
        milliseconds=elapsed_ms,
        scope=definition.cache_scope,
    )
    return Row(process, id_, run, tuple(json.loads(targets)), link, action)


def definition_of(told: ProcessReport, run: RunReport, input_root: bytes | None) -> Definition:
    """What makes the key of the action, from the report of a process and of its run."""
    salt = {SALT: run.cache_namespace} if run.cache_namespace else {}
    return Definition(
        arguments=told.argv,
        environment={**told.env, **salt},
        working_directory=told.working_directory,
        input_root=Digest(input_root) if input_root else None,
        output_files=told.output_files,
        output_directories=told.output_directories,
        platform=_platform(told, run),
        caches=told.caches,
        timeout_ms=told.timeout_ms,
        is_remote=told.strategy not in ("", _LOCAL),
    )


def _platform(told: ProcessReport, run: RunReport) -> Mapping[str, str]:
    named = {"platform": told.platform} if told.platform else {}
    if told.environment_name:
        named["environment"] = told.environment_name
    given = run.platform_properties if told.strategy not in ("", _LOCAL) else ()
    return {**named, **dict(one.partition("=")[::2] for one in given)}
