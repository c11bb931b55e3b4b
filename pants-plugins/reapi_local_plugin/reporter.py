"""The callback by which Pants tells of the processes of a run while it goes on."""

from __future__ import annotations

import getpass
import logging
import socket
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Optional

from pants.base.build_root import BuildRoot
from pants.engine.env_vars import CompleteEnvironmentVars
from pants.engine.fs import Digest, DigestEntries
from pants.engine.internals.session import SessionValues
from pants.engine.rules import collect_rules, rule
from pants.engine.streaming_workunit_handler import (
    StreamingWorkunitContext,
    WorkunitsCallback,
    WorkunitsCallbackFactory,
    WorkunitsCallbackFactoryRequest,
    thread_locals_get_for_current_thread,
    thread_locals_set_for_current_thread,
)
from pants.engine.unions import UnionRule
from pants.option.global_options import GlobalOptions
from pants.version import VERSION

from reapi_contract.input_trees import InputTree
from reapi_contract.run_reports import RunReport
from reapi_local_launcher.server.running import Running, find_running
from reapi_local_plugin import counted_run, live_inputs
from reapi_local_plugin import options as own_options
from reapi_local_plugin.instance_name import instance_name
from reapi_local_plugin.live_inputs import live_trees
from reapi_local_plugin.process_reports import ProcessCollector
from reapi_local_plugin.report_sender import ReadTrees, ReportSender
from reapi_local_plugin.subsystem import ReapiSubsystem
from reapi_local_plugin.summary_line import summary_line

logger = logging.getLogger(__name__)

_WAIT_S = 2.0
"""Where Pants' process ends with the build, so what isn't sent then is lost."""


@dataclass(frozen=True)
class Build:
    """What is the same for all runs of a build: `reapi` and `pants` hold option values."""

    reapi: Any
    pants: Any
    env: Mapping[str, str]
    root: Path

    def server(self) -> Optional[Running]:
        """The user's own server; None if there is none."""
        settings = own_options.launcher_settings(self.reapi, executes=False)
        return find_running(settings, self.env)

    def reports(self) -> bool:
        """Whether the server is told of this build."""
        reapi = self.reapi
        return bool(
            reapi.report and own_options.is_own_server(reapi) and not own_options.is_off(reapi)
        )


@dataclass(eq=False)
class Reporter(WorkunitsCallback):
    build: Build
    _collector: ProcessCollector = field(default_factory=ProcessCollector)
    _sender: Optional[ReportSender] = None
    _started_at: float = field(default_factory=time.time)

    @property
    def can_finish_async(self) -> bool:
        return not self.build.reapi.summary

    def __call__(
        self,
        *,
        completed_workunits: Sequence[Mapping[str, Any]],
        finished: bool,
        context: StreamingWorkunitContext,
        **_: Any,
    ) -> None:
        try:
            self._take(completed_workunits, context)
            if finished:
                self._finish(context)
        except Exception:
            logger.debug("this run was not reported", exc_info=True)

    def _take(self, ended: Sequence[Mapping[str, Any]], context: StreamingWorkunitContext) -> None:
        processes = self._collector.processes(ended)
        if not processes or not self.build.reports():
            return
        if self._sender is None:
            self._sender = ReportSender(self.build.server, self._read_trees_with(context))
        goals = context.run_tracker.goals
        self._sender.put(self._run(context), goals[0] if len(goals) == 1 else "", processes)

    def _read_trees_with(self, context: StreamingWorkunitContext) -> Optional[ReadTrees]:
        """None where the server gets the inputs anyway, because it runs the processes."""
        if not self.build.reapi.report_inputs or self.build.pants.remote_execution:
            return None
        thread_locals = thread_locals_get_for_current_thread()

        # No public method lists the files of a digest without reading them. Of the methods that do,
        # these two take the same arguments in all releases.
        scheduler = context._scheduler  # noqa: SLF001

        def entries(digest: Digest) -> Iterable[Any]:
            [found] = scheduler.execute(scheduler.execution_request([(DigestEntries, digest)]))
            return found

        def read_trees(inputs: Mapping[str, str], wanted: Sequence[str]) -> Iterable[InputTree]:
            thread_locals_set_for_current_thread(thread_locals)
            return live_trees(inputs, wanted, entries)

        return read_trees

    def _finish(self, context: StreamingWorkunitContext) -> None:
        counters = context.get_metrics()
        line = summary_line(counters)
        if line and self.build.reapi.summary and sys.stderr.isatty():
            logger.info(line)
        counted = counted_run.counted_run(context.run_tracker.run_id, counters)
        if counted is not None:
            counted_run.write(counted, Path(self.build.pants.pants_workdir))
        if self._sender is not None:
            ended = self._run(context, counters)
            self._sender.finish(ended, 0.0 if self.build.pants.pantsd else _WAIT_S)

    def _run(
        self, context: StreamingWorkunitContext, counters: Optional[Mapping[str, int]] = None
    ) -> RunReport:
        tracker, pants, reapi = context.run_tracker, self.build.pants, self.build.reapi
        told, counted = tracker.run_information(), counters or {}
        return RunReport(
            run=tracker.run_id,
            instance=pants.remote_instance_name or instance_name(reapi.instance, self.build.root),
            tool="pants",
            tool_version=VERSION,
            user=getpass.getuser(),
            machine=socket.gethostname(),
            root=str(self.build.root),
            command_line=str(told.get("cmd_line", "")),
            goals=tuple(tracker.goals),
            started_at=float(told.get("timestamp") or self._started_at),
            ended_at=0.0 if counters is None else time.time(),
            outcome="" if counters is None else str(told.get("outcome") or ""),
            executes=bool(pants.remote_execution),
            reads=bool(pants.remote_cache_read),
            writes=bool(pants.remote_cache_write),
            cache_namespace=pants.process_execution_cache_namespace or "",
            platform_properties=tuple(pants.remote_execution_extra_platform_properties),
            asked=counted.get("remote_cache_requests", 0),
            cached=counted.get("remote_cache_requests_cached", 0),
            uncached=counted.get("remote_cache_requests_uncached", 0),
            saved_ms=counted.get("remote_cache_total_time_saved_ms", 0),
        )


@dataclass(frozen=True)
class ReporterRequest(WorkunitsCallbackFactoryRequest):
    pass


@rule
async def reporter(
    _: ReporterRequest,
    reapi: ReapiSubsystem,
    pants: GlobalOptions,
    build_root: BuildRoot,
    session: SessionValues,
) -> WorkunitsCallbackFactory:
    env = session[CompleteEnvironmentVars]
    build = Build(reapi, pants.options, env, Path(build_root.path))
    options = pants.options
    uses = options.remote_cache_read or options.remote_cache_write or options.remote_execution
    return WorkunitsCallbackFactory(lambda: Reporter(build) if uses else None)


def rules() -> Iterable[Any]:
    return (
        *live_inputs.rules(),
        *collect_rules(),
        UnionRule(WorkunitsCallbackFactoryRequest, ReporterRequest),
    )
