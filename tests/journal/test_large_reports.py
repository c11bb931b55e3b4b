"""Reports wait in memory for the disk, but not many megabytes of them."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from reapi_contract.run_reports import RunReport
from reapi_local.clock import SystemClock
from reapi_local.errors import JournalUnavailable
from reapi_local.journal.journal import Journal
from reapi_local.journal.writer import Bounds

MIB = 1024 * 1024


async def test_reports_that_wait_count_with_their_size(tmp_path: Path) -> None:
    bounds = Bounds(512 * MIB, 0.0)
    # Nothing of a journal that has not started is written.
    journal = Journal(str(tmp_path), bounds, None, SystemClock(), str)  # type: ignore[arg-type]
    waiting = [
        asyncio.ensure_future(journal.report(RunReport(run=f"{number}"), (), 8 * MIB))
        for number in range(3)
    ]
    await asyncio.sleep(0)
    with pytest.raises(JournalUnavailable, match="more to write than it can hold"):
        await journal.report(RunReport(run="another"), (), 8 * MIB)
    for one in waiting:
        one.cancel()
    await asyncio.wait(waiting)
