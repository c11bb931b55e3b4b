"""Explains a run: why each of its processes ran that could have been a hit."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from reapi_contract.admin_api import RunSummary
from reapi_contract.explanations import CauseRecord, Compared, Explained, Explanation
from reapi_contract.explanations import Group as GroupRecord
from reapi_local.explain.causes import Cause, Kind
from reapi_local.explain.journal_reader import JournalReader, Row
from reapi_local.explain.process import KEPT_BY_CACHE
from reapi_local.explain.recurring import Recurring, recurring
from reapi_local.explain.root_causes import Makers, grouped
from reapi_local.explain.verdict import Verdict, why

_MOST_EXPLAINED: Final = 1000
_MOST_CAUSES: Final = 20_000
_HISTORY: Final = 6


@dataclass(frozen=True)
class Findings:
    """What was found out about the processes of a run, by their spans.

    ``actions``: the digests of those whose actions are known, "HASH/SIZE". ``chosen``: the spans
    of the processes that are asked about.
    """

    summary: RunSummary
    verdicts: Mapping[str, Verdict]
    explained: tuple[Explained, ...]
    actions: Mapping[str, str]
    chosen: frozenset[str]
    ran: int


def find_causes(
    summary: RunSummary,
    run: int,
    reader: JournalReader,
    process: str,
    is_late: Callable[[], bool],
) -> Findings:
    """Look for the causes; ``process``: see ``admin_api.EXPLANATIONS``.

    ``is_late``: whether it has taken long enough: then the processes that are left stay without.
    """
    rows = [row for row in reader.ran(run) if _could_have_been_a_hit(row)]
    actions = {row.process.name: reader.action_digest(row.action) for row in rows}
    verdicts: dict[str, Verdict] = {}
    before: dict[str, Row] = {}
    causes = 0
    for row in rows[:_MOST_EXPLAINED]:
        if verdicts and (is_late() or causes > _MOST_CAUSES):
            break
        earlier = reader.earlier(row)
        verdict = _verdict(row, earlier, reader)
        verdicts[row.process.name] = verdict
        causes += len(verdict.causes)
        for one in earlier:
            if one.process is verdict.earlier:
                before[row.process.name] = one
    chosen = [
        row
        for row in rows
        if row.process.name in verdicts and _is_meant(row, actions[row.process.name], process)
    ]
    return Findings(
        summary,
        verdicts,
        tuple(
            _explained(
                row,
                verdicts[row.process.name],
                actions[row.process.name],
                before.get(row.process.name),
                reader,
                is_late,
            )
            for row in chosen
        ),
        {span: action for span, action in actions.items() if action},
        frozenset(row.process.name for row in chosen),
        max(len(rows), reader.how_many_ran(run)) if len(rows) > len(verdicts) else len(rows),
    )


def explanation(findings: Findings, makers: Makers) -> Explanation:
    """The findings, grouped by their root causes."""
    verdicts = [*findings.verdicts.values()]
    return Explanation(
        findings.summary,
        findings.explained,
        tuple(_groups(verdicts, makers, findings.chosen)),
        tuple(_notes(findings.summary, verdicts, findings.ran)),
    )


def _could_have_been_a_hit(row: Row) -> bool:
    """A look-up that a client gave up, because the process had ended before, isn't reported."""
    process = row.process
    return process.was_asked or process.scope in KEPT_BY_CACHE


def _is_meant(row: Row, action: str, process: str) -> bool:
    return process in row.process.description or process in action or process in row.targets


def _verdict(row: Row, earlier: Sequence[Row], reader: JournalReader) -> Verdict:
    others = [other.process for other in earlier]
    return why(row.process, others, reader.facts(row), reader.directory)


def _groups(
    verdicts: Sequence[Verdict], makers: Makers, wanted: frozenset[str]
) -> Iterator[GroupRecord]:
    for group in grouped(verdicts, makers):
        members = [v.process for v in group.verdicts if v.process.name in wanted]
        if members:
            yield GroupRecord(
                tuple(map(_record, group.causes)),
                tuple(process.name for process in members),
                sum(process.milliseconds for process in members),
            )


def _explained(
    row: Row,
    verdict: Verdict,
    action: str,
    before: Row | None,
    reader: JournalReader,
    is_late: Callable[[], bool],
) -> Explained:
    process = verdict.process
    history = [verdict] if is_late() else _history(row, verdict, reader)
    return Explained(
        span=process.name,
        description=process.description,
        targets=row.targets,
        milliseconds=process.milliseconds,
        action=action,
        causes=tuple(map(_record, verdict.causes)),
        compared=() if before is None else (_compared(before, reader),),
        complete=verdict.is_complete,
        every_run=" ".join(map(_sentence, recurring(history))),
    )


def _compared(before: Row, reader: JournalReader) -> Compared:
    origin = before.process.origin
    return Compared(
        origin.run,
        origin.instance,
        origin.machine,
        origin.started_at,
        before.process.description,
        reader.action_digest(before.action),
    )


def _history(row: Row, verdict: Verdict, reader: JournalReader) -> list[Verdict]:
    """The verdict, and those of the runs before in which this process ran, without a gap."""
    found, here = [verdict], row.process.origin
    for other in reader.earlier(row):
        process = other.process
        if process.description != row.process.description or len(found) == _HISTORY:
            break
        if (process.origin.instance, process.origin.machine) != (here.instance, here.machine):
            continue
        if not process.ran:
            break
        found.append(_verdict(other, reader.earlier(other), reader))
    return found


def _sentence(found: Recurring) -> str:
    what = {
        Kind.VARIABLE: f"The variable {found.cause.name}",
        Kind.FILE_CHANGED: f"The file {found.cause.name}",
        Kind.ARGUMENT: "An argument",
        Kind.TIMEOUT: "The timeout",
    }.get(found.cause.kind, "The salt")
    return f"{what} was different in each of the last {found.runs} runs: {found.remedy}."


def _notes(summary: RunSummary, verdicts: Sequence[Verdict], ran: int) -> Iterator[str]:
    if not summary.reported:
        yield (
            "The client reported no processes, so only those are explained whose results it "
            "uploaded. Pants reports them unless [reapi].report is off."
        )
    unknown = sum(
        any(cause.kind is Kind.INPUTS for cause in verdict.causes) for verdict in verdicts
    )
    if unknown:
        yield (
            f"Of {_processes(unknown)} the server doesn't have all input directories of both "
            "times, so it can't name each file. Pants tells them from now on, unless "
            "[reapi].report_inputs is off."
        )
    if ran > len(verdicts):
        yield f"Only the first {len(verdicts)} of {ran} processes that ran are explained."


def _processes(count: int) -> str:
    return "1 process" if count == 1 else f"{count} processes"


def _record(cause: Cause) -> CauseRecord:
    return CauseRecord(
        cause.kind.value, cause.name, cause.before or "", cause.after or "", str(cause)
    )
