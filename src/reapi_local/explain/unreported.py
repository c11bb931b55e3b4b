"""Runs whose clients report no processes: what their actions' own blobs say."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from typing import Any, Final

from reapi_contract.run_reports import RunReport
from reapi_local.explain.journal_reader import JournalReader, Row, definition_of
from reapi_local.explain.process import Origin, Process
from reapi_local.journal import definitions
from reapi_local.journal.schema import OUTCOMES

_MOST_RESULTS: Final = 1000
_HIT: Final = OUTCOMES.index("hit")
_COLUMNS: Final = "actions.id, actions.input_root, actions.link, actions.ran_ms, definitions.body"


class UnreportedReader(JournalReader):
    """Knows of a miss what was uploaded after it: without a result it knows nothing of it."""

    def __init__(self, connection: sqlite3.Connection, instance: str | None) -> None:
        super().__init__(connection, instance)
        self._results: list[Row] | None = None

    def ran(self, run: int) -> list[Row]:
        """The actions whose look-ups were misses."""
        [name, instance, tool] = self._connection.execute(
            "SELECT run, instance, tool FROM runs WHERE id = ?", (run,)
        ).fetchone()
        found = []
        for number, lookup in self._lookups(run).items():
            row = self._connection.execute(
                f"SELECT {_COLUMNS} FROM actions JOIN definitions"
                " ON definitions.id = actions.definition WHERE actions.id = ?",
                (number,),
            ).fetchone()
            if row is not None and lookup.outcome != _HIT:
                origin = Origin(name, instance, tool=tool, started_at=lookup.at)
                found.append(_row(row, origin, run))
        return sorted(found, key=lambda row: row.process.origin.started_at)

    def earlier(self, row: Row) -> list[Row]:
        """Actions whose results were written before, the latest first."""
        if self._results is None:
            self._results = self._written()
        here = row.process.origin
        return [
            one
            for one in self._results
            if one.process.origin.started_at < here.started_at and one.action != row.action
        ]

    def _written(self) -> list[Row]:
        rows = self._connection.execute(
            f"SELECT {_COLUMNS}, results.run, results.instance, results.at, results.exit_code"
            " FROM results JOIN actions ON actions.id = results.action"
            " JOIN definitions ON definitions.id = actions.definition"
            " WHERE (? IS NULL OR results.instance = ?) ORDER BY results.id DESC LIMIT ?",
            (self._instance, self._instance, _MOST_RESULTS),
        )
        return [
            _row(row, Origin(run, instance, started_at=at), 0, exit_code)
            for *row, run, instance, at, exit_code in rows
        ]


def _row(row: Sequence[Any], origin: Origin, run: int, exit_code: int = 0) -> Row:
    number, input_root, link, ran_ms, body = row
    told = definitions.decoded(definitions.decompressed(body))
    process = Process(
        f"{number}",
        told.description,
        definition_of(told, RunReport(), input_root),
        origin,
        exit_code=exit_code,
        milliseconds=ran_ms or 0,
    )
    return Row(process, number, run, (), link or b"", number)
