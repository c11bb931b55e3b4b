"""Why processes ran, as text of 80 columns."""

from __future__ import annotations

import time
from collections.abc import Sequence

from reapi_contract.admin_api import RunSummary
from reapi_contract.explanations import CauseRecord, Explained, Explanation, Group
from reapi_local_launcher.cli.terminal import WIDTH, Style, Write, indented, notes, showable

_MOST_NAMED = 5
"""Processes and causes of a group, unless all are asked for."""
_COST_COLUMNS = 24


def explanation_text(
    explanation: Explanation, write: Write, style: Style, *, details: bool = False
) -> None:
    """The run, then what caused its misses; the costliest cause comes first.

    `details`: all causes of each process, and what it was compared with.
    """
    run = explanation.run
    _headline(run, write, style)
    by_span = {one.span: one for one in explanation.explained}
    for group in explanation.groups:
        write("\n")
        members = [by_span[span] for span in group.spans if span in by_span]
        _group_text(group, members, write, style, details=details)
    if explanation.notes:
        write("\n")
        notes(explanation.notes, write, style)


def _headline(run: RunSummary, write: Write, style: Style) -> None:
    began = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(run.started_at))
    where = f" on {run.machine}" if run.machine else ""
    indented("Run of", f"{began}{where}: {showable(run.command_line or run.tool)}", write)
    asked = run.asked if run.reported else run.hits + run.misses
    cached = run.cached if run.reported else run.hits
    if not asked:
        write("It asked the cache for nothing.\n")
        return
    ran = asked - cached
    saved = f", which saved {seconds(run.saved_ms)}" if run.saved_ms else ""
    write(f"{cached} of {asked} processes came from the cache{saved}; {ran} ran.\n")


def _group_text(
    group: Group, members: Sequence[Explained], write: Write, style: Style, *, details: bool
) -> None:
    count = len(members)
    cost = f"{count} process{'' if count == 1 else 'es'}, {seconds(group.milliseconds)}"
    shown = group.causes if details else group.causes[:_MOST_NAMED]
    for number, cause in enumerate(shown):
        _cause_text(cause, cost if number == 0 else "", write, style)
    if len(group.causes) > len(shown):
        write(f"and {len(group.causes) - len(shown)} more causes\n")
    for one in members if details else members[:_MOST_NAMED]:
        _process_text(one, write, details=details)
    if count > _MOST_NAMED and not details:
        write(f"  and {count - _MOST_NAMED} more\n")
    for sentence in dict.fromkeys(one.every_run for one in members if one.every_run):
        indented(" ", sentence, write)


def _cause_text(cause: CauseRecord, cost: str, write: Write, style: Style) -> None:
    text = showable(cause.text)
    width = WIDTH - _COST_COLUMNS
    if cost and len(text) <= width:
        write(f"{style.strong(text)}{' ' * (width - len(text))}{cost:>{_COST_COLUMNS}}\n")
        return
    write(f"{style.strong(text)}\n")
    if cost:
        write(f"{cost:>{WIDTH}}\n")


def _process_text(one: Explained, write: Write, *, details: bool) -> None:
    cost = seconds(one.milliseconds)
    name = showable(one.description or one.action or one.span)
    room = WIDTH - 4 - len(cost)
    short = name if len(name) <= room else name[: room - 1] + "…"
    write(f"  {short:<{room}}  {cost}\n")
    if not details:
        return
    for earlier in one.compared:
        when = time.strftime("%Y-%m-%d %H:%M", time.localtime(earlier.started_at))
        where = f" on {earlier.machine}" if earlier.machine else ""
        indented("   ", f"compared with the run of {when}{where}", write)
    for cause in one.causes:
        indented("    -", showable(cause.text), write)
    if not one.complete:
        write("    - and more that is not listed\n")
    if one.action:
        indented("   ", f"action {one.action}", write)


def seconds(milliseconds: int) -> str:
    """A duration for people: 0.4 s, 12 s, 3 min 5 s."""
    if milliseconds < 10_000:
        return f"{milliseconds / 1000:.1f} s"
    minutes, rest = divmod(round(milliseconds / 1000), 60)
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"
