"""Sends what a run did to the server, in a thread of its own. Imports nothing of Pants.

A build never waits for it, but for a short time where its process ends with the build. Whatever
goes wrong ends the sending of this run and nothing else.
"""

from __future__ import annotations

import logging
import queue
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Callable, Optional

from reapi_contract import admin_api
from reapi_contract.input_trees import InputTree, roots_from, roots_json, tree_json
from reapi_contract.json_records import from_json
from reapi_contract.masks import Masks
from reapi_contract.run_reports import (
    MAX_BATCH_PROCESSES,
    ProcessReport,
    Reporting,
    RunReport,
    report_json,
)
from reapi_local_launcher.server.admin_client import AdminRefusedError
from reapi_local_launcher.server.running import Running
from reapi_local_plugin.process_reports import Workunit, may_be_a_miss, own_inputs, process_report

logger = logging.getLogger(__name__)

FindServer = Callable[[], Optional[Running]]
ReadTrees = Callable[[Mapping[str, str], Sequence[str]], Iterable[InputTree]]
"""Reads the input trees with these roots, "HASH/SIZE"; see `live_inputs.live_trees`."""

_CALL_S = 2.0
_BATCH = min(200, MAX_BATCH_PROCESSES)
_MOST_WAITING = 20_000
_MOST_TREES = 500
"""Of the misses of one run."""


@dataclass(frozen=True)
class _Processes:
    goal: str
    ended: Sequence[tuple[Workunit, bool]]


_at_work: Optional[threading.Thread] = None


def wait_for_the_last(wait_s: float) -> None:
    """Wait until the last run of this process is told, as Pants' daemon goes on with it."""
    if _at_work is not None:
        _at_work.join(wait_s)


class ReportSender:
    """One run: processes as they end, then the run itself. Used by one thread."""

    def __init__(self, find_server: FindServer, read_trees: Optional[ReadTrees]) -> None:
        self._find_server, self._read_trees = find_server, read_trees
        self._waiting: queue.Queue[Optional[_Processes]] = queue.Queue(_MOST_WAITING)
        self._run = RunReport()
        self._missed: dict[str, None] = {}
        self._inputs: dict[str, str] = {}
        self._thread: Optional[threading.Thread] = None

    def put(self, run: RunReport, goal: str, ended: Sequence[tuple[Workunit, bool]]) -> None:
        """Send these processes of the run soon."""
        if not ended:
            return
        self._run = run
        self._start()
        try:
            self._waiting.put_nowait(_Processes(goal, ended))
        except queue.Full:
            logger.debug("the server takes reports too slowly; some are left out")

    def finish(self, run: RunReport, wait_s: float) -> None:
        """The run has ended; wait at most that long until all is sent."""
        if self._thread is None:
            return
        self._run = run
        try:
            self._waiting.put_nowait(None)
        except queue.Full:
            return
        self._thread.join(wait_s)

    def _start(self) -> None:
        if self._thread is None:
            global _at_work  # noqa: PLW0603 - one build at a time in a process
            _at_work = self._thread = threading.Thread(
                target=self._send_all, name="reapi", daemon=True
            )
            self._thread.start()

    def _send_all(self) -> None:
        try:
            running = self._find_server()
            if running is None:
                return
            reporting = from_json(Reporting, running.call("GET", admin_api.REPORTS))
            if not reporting.keeps:
                return
            masks = Masks(bytes.fromhex(reporting.secrets_key))
            for batch in self._batches(masks):
                self._post(running, batch)
            self._post_trees(running)
        except Exception:
            logger.debug("the server wasn't told of this run", exc_info=True)

    def _post(self, running: Running, batch: Sequence[ProcessReport]) -> None:
        run = replace(self._run, plugin_version=running.version)
        running.call("POST", admin_api.REPORTS, report_json(run, batch), _CALL_S)

    def _post_trees(self, running: Running) -> None:
        """Tell the input trees of misses that the server doesn't know."""
        roots = [*self._missed][:_MOST_TREES]
        if self._read_trees is None or not roots:
            return
        answer = running.call("POST", admin_api.MISSING_TREES, roots_json(roots), _CALL_S)
        missing = roots_from(answer)
        if not missing:
            return
        for tree in self._read_trees(self._inputs, missing):
            with suppress(AdminRefusedError):  # of this tree alone: it may be too large
                running.call("POST", admin_api.INPUT_TREES, tree_json(tree), _CALL_S)

    def _batches(self, masks: Masks) -> Iterator[list[ProcessReport]]:
        """What waits, until the end of the run; the last batch comes with its end."""
        while (some := self._waiting.get()) is not None:
            reports = self._reports(some, masks)
            for start in range(0, len(reports), _BATCH):
                yield reports[start : start + _BATCH]
        yield []

    def _reports(self, some: _Processes, masks: Masks) -> list[ProcessReport]:
        reports = []
        for unit, asked in some.ended:
            report = process_report(unit, asked, some.goal, masks)
            if report is None:
                continue
            reports.append(report)
            if may_be_a_miss(report):
                self._missed[report.input_root] = None
                self._inputs.update(filter(None, [own_inputs(unit)]))
        return reports
