"""What is known of one action: the answer to `/v1/actions/HASH/SIZE` of the admin interface."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from reapi_contract.json_records import to_json
from reapi_contract.run_reports import ProcessReport


@dataclass(frozen=True)
class ResultRecord:
    """A result that was written. `run`: of the client that wrote it, "" if it sent none.

    `executed`: the server ran the action; else a client uploaded what it had run.
    """

    instance: str = ""
    at: float = 0.0
    writer: str = ""
    run: str = ""
    executed: bool = False
    exit_code: int = 0


@dataclass(frozen=True)
class ExecutionRecord:
    """An execution on the server. `code`: of `google.rpc.Code`; 0 whatever the exit code is."""

    instance: str = ""
    at: float = 0.0
    run: str = ""
    queued_ms: int = 0
    ran_ms: int = 0
    code: int = 0
    exit_code: int = 0


@dataclass(frozen=True)
class RemovalRecord:
    """A result that was removed, because it could not be used. `missing`: digests of some blobs."""

    instance: str = ""
    at: float = 0.0
    reason: str = ""
    missing: tuple[str, ...] = ()


@dataclass(frozen=True)
class EvictionRecord:
    """Blobs and results that were not used for long were deleted to make room."""

    at: float = 0.0
    bytes_before: int = 0
    bytes_after: int = 0


@dataclass(frozen=True)
class ActionHistory:
    """One action; the lists have the newest first, and at most a hundred members each.

    `process` has what the blobs of the action say, all defaults if they were not read. `evictions`
    are those since the first result.
    """

    action: str = ""
    process: ProcessReport = field(default_factory=ProcessReport)
    results: tuple[ResultRecord, ...] = ()
    executions: tuple[ExecutionRecord, ...] = ()
    removals: tuple[RemovalRecord, ...] = ()
    evictions: tuple[EvictionRecord, ...] = ()


def history_json(history: ActionHistory) -> dict[str, Any]:
    """The JSON object of a history."""
    return to_json(history)
