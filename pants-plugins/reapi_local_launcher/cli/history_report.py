"""`reapi-local runs` and `savings` as text."""

from __future__ import annotations

import time
from collections.abc import Sequence

from reapi_contract import savings as contract
from reapi_contract.admin_api import RunSummary
from reapi_contract.savings import Saving, Savings
from reapi_contract.sizes import format_size
from reapi_local_launcher.cli.terminal import PLAIN, Style, Write, fields, notes, table

RUN_CHARACTERS = 8
"""The end of a run's name that is shown, and that is enough to name it."""

_UNNAMED = {
    contract.GOAL: "(no goal)",
    contract.TARGET: "(no target)",
    contract.USER: "(not reported)",
    contract.MACHINE: "(not reported)",
}


def runs_text(runs: Sequence[RunSummary], write: Write, style: Style = PLAIN) -> None:
    """A table of runs, the newest first."""
    if not runs:
        write("No run has asked for anything yet.\n")
        return
    rows = [
        (
            run.command_line or run.tool or "(unknown)",
            run.run[-RUN_CHARACTERS:],
            time.strftime("%Y-%m-%d %H:%M", time.localtime(run.started_at)),
            _share(run.cached, run.asked) if run.reported else _share(run.hits, _looked_up(run)),
            duration(run.saved_ms),
        )
        for run in runs
    ]
    table(("command", "run", "started", "from cache", "saved"), rows, write, style)


def savings_text(savings: Savings, write: Write, style: Style = PLAIN) -> None:
    """A table of savings, their total, and the costs."""
    total = savings.total
    write(
        f"{style.strong(duration(total.saved_ms))} not run: {total.cached:,} of {total.asked:,} "
        f"processes from the cache, {format_size(total.saved_bytes)} of outputs\n"
    )
    header = (savings.by, "runs", "asked", "cached", "saved", "outputs", "still ran")
    table(header, [_row(savings.by, row) for row in savings.rows], write, style)
    costs = savings.costs
    write("\n")
    fields(
        [
            ("on disk", format_size(costs.disk_bytes)),
            ("uploads", _transfer(costs.uploaded_bytes, costs.upload_ms)),
            ("downloads", _transfer(costs.downloaded_bytes, costs.download_ms)),
            ("evicted", format_size(costs.evicted_bytes)),
        ],
        write,
    )
    if savings.dropped:
        lost = f"{savings.dropped:,} events are missing: the journal had no room for them."
        notes([lost], write, style)


def duration(milliseconds: int) -> str:
    """A time for people: 850 ms, 61 s, 12 min, 3.4 h."""
    seconds = milliseconds / 1000
    if seconds < 1:
        return f"{milliseconds} ms"
    if seconds < 120:
        return f"{seconds:.0f} s"
    if seconds < 7200:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:,.1f} h"


def _row(by: str, row: Saving) -> tuple[str, ...]:
    return (
        row.name or _UNNAMED.get(by, '""'),
        f"{row.runs:,}" if row.runs else "",
        f"{row.asked:,}",
        _percent(row.cached, row.asked),
        duration(row.saved_ms),
        format_size(row.saved_bytes),
        duration(row.ran_ms),
    )


def _looked_up(run: RunSummary) -> int:
    return run.hits + run.misses


def _share(cached: int, asked: int) -> str:
    return f"{cached:,} of {asked:,}" if asked else "–"


def _percent(cached: int, asked: int) -> str:
    return f"{cached / asked:.0%}" if asked else "–"


def _transfer(size_bytes: int, milliseconds: int) -> str:
    return f"{format_size(size_bytes)}, {duration(milliseconds)} of calls"
