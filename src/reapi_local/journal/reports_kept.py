"""Puts reports of build tools into the journal, and links their processes to actions."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Collection, Sequence
from dataclasses import replace
from typing import Final

from reapi_contract.json_records import to_json
from reapi_contract.masks import Masks
from reapi_contract.run_reports import HIT_REMOTELY, RAN, Kept, ProcessReport, RunReport
from reapi_local.errors import InvalidRequest
from reapi_local.journal import definitions
from reapi_local.journal.entries import ActionRead, Effects, Reported, TreeRead
from reapi_local.journal.link import link_of
from reapi_local.journal.lookups import lookups_of
from reapi_local.journal.numbers import Numbers
from reapi_local.journal.schema import DAY_SECONDS
from reapi_local.protocol.digest import Digest, function_for, parse_digest_text

_MAX_ROOTS: Final = 1000


class ReportsKept:
    """Writes each report at once."""

    def __init__(self, connection: sqlite3.Connection, numbers: Numbers, masks: Masks) -> None:
        self._connection, self._numbers, self._masks = connection, numbers, masks

    def keep(self, reported: Reported, effects: Effects) -> Kept:
        """Keep a report; processes that are known already stay as they are."""
        self._numbers.flush()
        number, report = self._run(reported)
        looked_up = {lookup.action for lookup in lookups_of(self._connection, number)}
        day = int((report.started_at or reported.at) // DAY_SECONDS)
        new = [
            process
            for process in reported.processes
            if self._process(number, report, day, process, reported.at, looked_up)
        ]
        ran_ms = sum(process.elapsed_ms for process in new if process.source == RAN)
        self._connection.execute(
            "UPDATE runs SET ran_ms = ran_ms + ? WHERE id = ?", (ran_ms, number)
        )
        effects.roots += self._roots(number)
        return Kept(len(new), len(reported.processes) - len(new))

    def _run(self, reported: Reported) -> tuple[int, RunReport]:
        report = replace(
            reported.run,
            command_line=" ".join(self._masks.arguments(reported.run.command_line.split(" "))),
        )
        tool = f"{report.tool} {report.tool_version}".strip()
        name, at = (_text(report.run), _text(report.instance)), reported.at
        number = self._numbers.run(*name, _text(tool), at)
        self._connection.execute(
            "UPDATE runs SET report = ?, user = ?, machine = ?, asked = ?, cached = ?,"
            " saved_ms = ?, started_at = CASE WHEN ? THEN ? ELSE started_at END,"
            " last_call_at = max(last_call_at, ?), tool = CASE WHEN ? THEN ? ELSE tool END"
            " WHERE id = ?",
            (
                *(json.dumps(to_json(report)), _text(report.user), _text(report.machine)),
                *(report.asked, report.cached, report.saved_ms),
                *(report.started_at > 0, report.started_at, at),
                *(tool != "", _text(tool), number),
            ),
        )
        return number, report

    def _process(
        self,
        run: int,
        report: RunReport,
        day: int,
        given: ProcessReport,
        at: float,
        looked_up: Collection[int],
    ) -> bool:
        process = definitions.masked(given, self._masks)
        link = link_of(process.argv, process.env, process.input_root)
        action = self._action(link, looked_up)
        targets = [_text(target) for target in process.targets]
        goal = _text(process.goal or " ".join(report.goals))
        made = self._connection.execute(
            "INSERT OR IGNORE INTO processes (run, span, definition, input_root, link, action,"
            " description, goal, targets, source, asked, exit_code, started_at, elapsed_ms,"
            " saved_ms) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (
                *(run, _text(process.span), self._definition(process, at)),
                *(_digest_in(process.input_root), link, action and action[0]),
                *(_text(process.description), goal, json.dumps(targets), _text(process.source)),
                *(process.asked, process.exit_code, process.started_at),
                *(process.elapsed_ms, process.saved_ms),
            ),
        )
        if not made.rowcount:
            return False
        is_hit = process.source == HIT_REMOTELY
        amounts = (
            *(1, process.asked, is_hit, process.saved_ms if is_hit else 0),
            *((action[1] or 0) if is_hit and action else 0,),
            process.elapsed_ms if process.source == RAN else 0,
        )
        self._add_to_days(day, _text(report.instance), goal, targets, amounts)
        return True

    def keep_action(self, read: ActionRead) -> None:
        """Keep what the blobs of an action say, and link processes to it."""
        known = self._numbers.action(read.action, read.at)
        known.output_bytes = (known.output_bytes or 0) + read.tree_bytes
        self._numbers.changed(known)
        self._numbers.flush()
        self._connection.execute(
            "UPDATE actions SET definition = ?, input_root = ?, link = ? WHERE id = ?",
            (
                *(self._definition_id(read.definition, read.at), bytes(read.input_root)),
                *(read.link, known.number),
            ),
        )
        self._add_bytes_of_hits(read.link, known.output_bytes)
        for process, run, action in self._connection.execute(
            "SELECT id, run, action FROM processes WHERE link = ?", (read.link,)
        ).fetchall():
            # Of actions with the same link a process has the one that its run looked up.
            if action is None or self._has_looked_up(run, known.number):
                self._connection.execute(
                    "UPDATE processes SET action = ? WHERE id = ?", (known.number, process)
                )

    def _has_looked_up(self, run: int, action: int) -> bool:
        return any(one.action == action for one in lookups_of(self._connection, run))

    def keep_tree(self, read: TreeRead) -> None:
        """Keep the Directories of an input root."""
        self._connection.executemany(
            "INSERT INTO directories (digest, body, last_at) VALUES (?, ?, ?)"
            " ON CONFLICT (digest) DO UPDATE SET last_at = excluded.last_at",
            [
                (bytes(digest), definitions.compressed(body), read.at)
                for digest, body in read.directories
            ],
        )
        self._connection.execute(
            "INSERT OR REPLACE INTO trees VALUES (?, ?)", (bytes(read.root), read.at)
        )

    def _action(self, link: bytes, looked_up: Collection[int]) -> tuple[int, int | None] | None:
        """Number and output bytes of the action with that link, best one that was looked up."""
        found: list[tuple[int, int | None]] = self._connection.execute(
            "SELECT id, output_bytes FROM actions WHERE link = ? ORDER BY last_at DESC", (link,)
        ).fetchall()
        of_run = [one for one in found if one[0] in looked_up]
        return next(iter(of_run or found), None)

    def _definition(self, process: ProcessReport, at: float) -> int:
        return self._definition_id(definitions.encoded(process), at)

    def _definition_id(self, definition: bytes, at: float) -> int:
        execute, key = self._connection.execute, definitions.key_of(definition)
        row = execute("SELECT id FROM definitions WHERE key = ?", (key,)).fetchone()
        if row is not None:
            execute("UPDATE definitions SET last_at = ? WHERE id = ?", (at, row[0]))
            return int(row[0])
        body = definitions.compressed(definition)
        made = execute(
            "INSERT INTO definitions (key, body, last_at) VALUES (?, ?, ?)", (key, body, at)
        )
        return made.lastrowid or 0

    def _roots(self, run: int) -> list[Digest]:
        """The input roots of the run's misses of which the Directories aren't kept."""
        rows = self._connection.execute(
            "SELECT DISTINCT input_root FROM processes WHERE run = ? AND source = ?"
            " AND input_root IS NOT NULL"
            " AND NOT EXISTS (SELECT 1 FROM trees WHERE root = input_root) LIMIT ?",
            (run, RAN, _MAX_ROOTS),
        )
        return [Digest(root) for (root,) in rows]

    def _add_bytes_of_hits(self, link: bytes, output_bytes: int) -> None:
        rows = self._connection.execute(
            "SELECT runs.started_at, runs.instance, goal, targets FROM processes"
            " JOIN runs ON runs.id = processes.run"
            " WHERE link = ? AND action IS NULL AND source = ?",
            (link, HIT_REMOTELY),
        ).fetchall()
        for started_at, instance, goal, targets in rows:
            day = int(started_at // DAY_SECONDS)
            amounts = (0, 0, 0, 0, output_bytes, 0)
            self._add_to_days(day, instance, goal, json.loads(targets), amounts)

    def _add_to_days(
        self, day: int, instance: str, goal: str, targets: Sequence[str], amounts: Sequence[int]
    ) -> None:
        """Add to the sums of a day: processes, asked, cached; milliseconds and bytes.

        A process counts for each of its targets, but they share its times and bytes, which so add
        up to those of all processes.
        """
        names = targets or ("",)
        shares = zip(
            *([int(count)] * len(names) for count in amounts[:3]),
            *(_shares(amount, len(names)) for amount in amounts[3:]),
            strict=True,
        )
        rows = [("goal", goal, *amounts)]
        rows += [("target", *row) for row in zip(names, *zip(*shares, strict=True), strict=True)]
        self._connection.executemany(
            "INSERT INTO process_days VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
            " ON CONFLICT (day, instance, kind, name) DO UPDATE SET"
            " processes = processes + excluded.processes, asked = asked + excluded.asked,"
            " cached = cached + excluded.cached, saved_ms = saved_ms + excluded.saved_ms,"
            " saved_bytes = saved_bytes + excluded.saved_bytes,"
            " ran_ms = ran_ms + excluded.ran_ms",
            [(day, instance, *row) for row in rows],
        )


def _shares(amount: int, parts: int) -> list[int]:
    share, rest = divmod(amount, parts)
    return [share + (part < rest) for part in range(parts)]


def _digest_in(text: str) -> bytes | None:
    """The digest "HASH/SIZE" of a report; None if it isn't one."""
    hash_hex, _, size = text.partition("/")
    if not (size.isascii() and size.isdigit()):
        return None
    try:
        return bytes(parse_digest_text(function_for(0, hash_hex), hash_hex, int(size)))
    except InvalidRequest:
        return None


def _text(text: str) -> str:
    """Text that SQLite can keep: what UTF-8 can't encode is escaped."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8")
