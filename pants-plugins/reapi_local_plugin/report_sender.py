"""Sends what a run did to the server, in a thread of its own. Imports nothing of Pants.

A build never waits for it, but for a short time where its process ends with the build. Whatever
goes wrong ends the sending of this run and nothing else.
"""

from __future__ import annotations

import logging
import queue
import threading
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Callable, Optional

from reapi_contract import admin_api
from reapi_contract.json_records import from_json
from reapi_contract.masks import Masks
from reapi_contract.run_reports import (
    MAX_BATCH_PROCESSES,
    ProcessReport,
    Reporting,
    RunReport,
    report_json,
)
from reapi_local_launcher.server.running import Running
from reapi_local_plugin.process_reports import Workunit, is_miss, process_report

logger = logging.getLogger(__name__)

FindServer = Callable[[], Optional[Running]]
UploadInputs = Callable[[Sequence[str]], None]
"""Uploads the input trees with these digests, "HASH/SIZE"."""

_CALL_S = 2.0
_BATCH = min(200, MAX_BATCH_PROCESSES)
_MOST_WAITING = 20_000
MOST_TREES = 200
"""Of the misses of one run; each is uploaded with its files."""


@dataclass(frozen=True)
class _Processes:
    goal: str
    ended: Sequence[tuple[Workunit, bool]]


class ReportSender:
    """One run: processes as they end, then the run itself. Used by one thread."""

    def __init__(self, find_server: FindServer, upload: Optional[UploadInputs]) -> None:
        self._find_server, self._upload = find_server, upload
        self._waiting: queue.Queue[Optional[object]] = queue.Queue(_MOST_WAITING)
        self._run = RunReport()
        self._missed: dict[str, None] = {}
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
            self._thread = threading.Thread(target=self._send_all, name="reapi", daemon=True)
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
            if self._upload is not None and self._missed:
                self._upload([*self._missed][:MOST_TREES])
                # The server looks for the input trees of a run when it hears of the run.
                self._post(running, [])
        except Exception:
            logger.debug("the server wasn't told of this run", exc_info=True)

    def _post(self, running: Running, batch: Sequence[ProcessReport]) -> None:
        run = replace(self._run, plugin_version=running.version)
        running.call("POST", admin_api.REPORTS, report_json(run, batch), _CALL_S)

    def _batches(self, masks: Masks) -> Iterator[list[ProcessReport]]:
        """What waits, until the end of the run; the last batch comes with its end."""
        while (some := self._waiting.get()) is not None:
            assert isinstance(some, _Processes)
            reports = self._reports(some, masks)
            for start in range(0, len(reports), _BATCH):
                yield reports[start : start + _BATCH]
        yield []

    def _reports(self, some: _Processes, masks: Masks) -> list[ProcessReport]:
        made = (process_report(unit, asked, some.goal, masks) for unit, asked in some.ended)
        reports = [report for report in made if report is not None]
        self._missed.update(dict.fromkeys(_missed(reports)))
        return reports


def _missed(reports: Iterable[ProcessReport]) -> Iterator[str]:
    return (report.input_root for report in reports if is_miss(report))
