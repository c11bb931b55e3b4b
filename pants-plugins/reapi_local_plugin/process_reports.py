"""What Pants says of its processes, as reports for the server. Imports nothing of Pants.

Pants tells of a process in a workunit called `process`, whose metadata has the definition of the
process as JSON, and where its result came from. That the remote cache was asked is another
workunit, a child of the first that ends before it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from typing import Any, Optional

from reapi_contract.masks import Masks
from reapi_contract.run_reports import KEPT_SCOPES, RAN, ProcessReport

_PROCESS, _LOOKUP = "process", "check_action_cache"
_SCHEDULING = "Scheduling: "
_ADDRESS = re.compile(r"(?://|[\w.-][\w./-]*)?:[\w.+#@=-][\w./+#@=,-]*|//[\w./-]+(?::[\w./-]+)?")

Workunit = Mapping[str, Any]


class ProcessCollector:
    """Takes the workunits of one run as they end, and gives those of processes."""

    def __init__(self) -> None:
        self._asked: set[str] = set()

    def processes(self, ended: Iterable[Workunit]) -> list[tuple[Workunit, bool]]:
        """The workunits of processes, each with whether the remote cache was asked."""
        listed = [unit for unit in ended if unit.get("name") in (_PROCESS, _LOOKUP)]
        for unit in listed:
            if unit["name"] == _LOOKUP:
                self._asked.update(unit.get("parent_ids") or ())
        return [
            (unit, unit.get("span_id") in self._asked)
            for unit in listed
            if unit["name"] == _PROCESS and "definition" in (unit.get("metadata") or ())
        ]


def process_report(unit: Workunit, asked: bool, goal: str, masks: Masks) -> Optional[ProcessReport]:
    """The report of one process, its secrets masked; None if this Pants says it differently."""
    metadata = unit["metadata"]
    try:
        definition = json.loads(metadata["definition"])
        environment = definition.get("execution_environment") or {}
        description = str(definition.get("description") or unit.get("description") or "")
        return ProcessReport(
            span=str(unit["span_id"]),
            description=description.replace(_SCHEDULING, "", 1),
            goal=goal,
            targets=tuple(dict.fromkeys(_ADDRESS.findall(description))),
            started_at=unit.get("start_secs", 0) + unit.get("start_nanos", 0) / 1e9,
            argv=masks.arguments(map(str, definition["argv"])),
            env=masks.variables(definition.get("env") or {}),
            working_directory=definition.get("working_directory") or "",
            input_root=_input_root(definition),
            output_files=tuple(definition.get("output_files") or ()),
            output_directories=tuple(definition.get("output_directories") or ()),
            timeout_ms=_milliseconds(definition.get("timeout")),
            platform=str(environment.get("platform") or ""),
            strategy=_text(environment.get("strategy")),
            environment_name=str(environment.get("name") or ""),
            cache_scope=str(definition.get("cache_scope") or ""),
            caches=dict(definition.get("append_only_caches") or {}),
            source=str(metadata.get("source") or ""),
            asked=asked,
            exit_code=metadata.get("exit_code", -1),
            elapsed_ms=metadata.get("total_elapsed_ms") or 0,
            saved_ms=metadata.get("saved_by_cache_ms") or 0,
        )
    except (AttributeError, KeyError, TypeError, ValueError):
        return None


def may_be_a_miss(report: ProcessReport) -> bool:
    """Whether it ran, and the remote cache was or could have been asked for it.

    Pants doesn't tell of a look-up that it gave up because the process had ended before.
    """
    return report.source == RAN and (report.asked or report.cache_scope in KEPT_SCOPES)


def own_inputs(unit: Workunit) -> Optional[tuple[str, str]]:
    """The fingerprint of a process' inputs without immutable ones, and its input root."""
    try:
        definition = json.loads(unit["metadata"]["definition"])
        own = definition["input_digests"]["inputs"]["digest"]["fingerprint"]
        return str(own), _input_root(definition)
    except (KeyError, TypeError, ValueError):
        return None


def _input_root(definition: Mapping[str, Any]) -> str:
    digest = definition["input_digests"]["complete"]["digest"]
    return f"{digest['fingerprint']}/{digest['size_bytes']}"


def _milliseconds(duration: Any) -> int:
    if not duration:
        return 0
    return int(duration.get("secs", 0)) * 1000 + int(duration.get("nanos", 0)) // 1_000_000


def _text(value: Any) -> str:
    """The name of a choice, with what it carries, such as platform properties."""
    if value is None or isinstance(value, str):
        return value or ""
    return json.dumps(value, sort_keys=True, separators=(",", ":"))
