"""The answer to `/v1/status`: the fields of `Health`, and one more field for each part."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

from reapi_contract.admin_api import (
    CacheCount,
    CallCount,
    ExecutionCount,
    ExecutionStatus,
    Health,
    StoreStatus,
)
from reapi_contract.json_records import from_json, to_json

_Count = TypeVar("_Count", CallCount, CacheCount, ExecutionCount)


@dataclass(frozen=True)
class Status:
    """A server's description of itself.

    `execution` is None for a server of a release that runs no actions at all. `instances`: the
    names used so far. `calls` are counted by gRPC method, `action_cache` and `executions` by
    instance; all counts are since the start of the server. `notes`: sentences for the user of the
    server, such as who may read and whether connections are encrypted.
    """

    health: Health
    store: StoreStatus
    execution: ExecutionStatus | None
    instances: tuple[str, ...] = ()
    calls: Mapping[str, CallCount] = field(default_factory=dict)
    action_cache: Mapping[str, CacheCount] = field(default_factory=dict)
    executions: Mapping[str, ExecutionCount] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


def status_json(status: Status) -> dict[str, Any]:
    """The JSON object of a status."""
    parts = to_json(status)
    return {**parts.pop("health"), **parts}


def status_from(raw: Mapping[str, object]) -> Status:
    """The status in a JSON object; a missing part has the defaults."""
    execution, instances, notes = raw.get("execution"), raw.get("instances"), raw.get("notes")
    return Status(
        health=from_json(Health, raw),
        store=from_json(StoreStatus, raw.get("store")),
        execution=from_json(ExecutionStatus, execution) if isinstance(execution, dict) else None,
        instances=tuple(map(str, instances)) if isinstance(instances, list) else (),
        calls=_counts(CallCount, raw.get("calls")),
        action_cache=_counts(CacheCount, raw.get("action_cache")),
        executions=_counts(ExecutionCount, raw.get("executions")),
        notes=tuple(map(str, notes)) if isinstance(notes, list) else (),
    )


def _counts(kind: type[_Count], raw: object) -> dict[str, _Count]:
    given = raw if isinstance(raw, dict) else {}
    return {name: from_json(kind, counts) for name, counts in given.items()}
