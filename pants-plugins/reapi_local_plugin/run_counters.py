"""The callback by which Pants tells, at the end of a run, what it counted."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pants.engine.rules import collect_rules, rule
from pants.engine.streaming_workunit_handler import (
    StreamingWorkunitContext,
    WorkunitsCallback,
    WorkunitsCallbackFactory,
    WorkunitsCallbackFactoryRequest,
)
from pants.engine.unions import UnionRule
from pants.option.global_options import GlobalOptions

from reapi_local_plugin import counted_run

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class RunCounters(WorkunitsCallback):
    work_dir: Path

    @property
    def can_finish_async(self) -> bool:
        return True

    def __call__(self, *, finished: bool, context: StreamingWorkunitContext, **_: Any) -> None:
        if not finished:
            return
        try:
            run = context.run_tracker.run_id
            counted = counted_run.counted_run(run, context.get_metrics())
            if counted is not None:
                counted_run.write(counted, self.work_dir)
        except Exception:
            logger.debug("the counters of this run were not kept", exc_info=True)


@dataclass(frozen=True)
class RunCountersRequest(WorkunitsCallbackFactoryRequest):
    pass


@rule
async def run_counters(_: RunCountersRequest, pants: GlobalOptions) -> WorkunitsCallbackFactory:
    work_dir = Path(pants.options.pants_workdir)
    asks = pants.options.remote_cache_read
    return WorkunitsCallbackFactory(lambda: RunCounters(work_dir) if asks else None)


def rules() -> Iterable[Any]:
    return (*collect_rules(), UnionRule(WorkunitsCallbackFactoryRequest, RunCountersRequest))
