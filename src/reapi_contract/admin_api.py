"""The admin interface: its paths, and the JSON objects of its answers.

It is HTTP on loopback with the header `Authorization: Bearer TOKEN`, which only the request of
`challenge` goes without. Errors are
`{"error": CODE, "message": TEXT}` with a status of 400 or more. A new release may add fields to an
answer; it never changes or removes one.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from reapi_contract.json_records import from_json, to_json

API = 1

HEALTH = "/v1/health"
"""GET: `Health`."""

STATUS = "/v1/status"
"""GET: `reapi_contract.status.Status`."""

RUNS = "/v1/runs"
"""GET with the query `instance` (any by default) and `limit`: `{"runs": [RunSummary, …]}`.

GET `/v1/runs/RUN` with the query `instance`: a `reapi_contract.run_details.RunDetails`; 404 if
no such run is known.
"""

REPORTS = "/v1/reports"
"""GET: `reapi_contract.run_reports.Reporting`. POST `report_json(run, processes)`: `Kept`."""

ACTIONS = "/v1/actions"
"""GET `/v1/actions/HASH/SIZE`: a `reapi_contract.action_history.ActionHistory`, 404 if none."""

SAVINGS = "/v1/savings"
"""GET with the query `by`, `days`, `instance` and `limit`: `reapi_contract.savings.Savings`."""

MISSING_TREES = "/v1/trees/missing"
"""POST `{"roots": ["HASH/SIZE", …]}`: the same with those whose input tree isn't known."""

INPUT_TREES = "/v1/trees"
"""POST a `reapi_contract.input_trees.InputTree`: `{"status": "kept"}`."""

EXPLANATIONS = "/v1/explanations"
"""GET with the query `run` (default: the newest that asked the cache), `instance` and `process` (a
part of a description, target or action): `reapi_contract.explanations.Explanation`; 404 if there is
no such run.
"""

CHECK = "/v1/check"
"""POST `{"instance": NAME}`: `{"proofs": [Proof, …]}`."""

STOP = "/v1/stop"
"""POST: `{"status": "stopping"}` with status 202."""

ROTATE_TOKEN = "/v1/token/rotate"
"""POST: `{"status": "rotated"}`. Then the state file has a new token, and the old one is wrong."""

PLACES = "/v1/places"
"""POST `places_request(…)` when a command begins: `{"status": "shown"}`. Actions see its repository
then."""

METRICS = "/metrics"
"""GET: metrics in the text format of Prometheus. All other answers are JSON."""

SERVING = "serving"
STOPPING = "stopping"

FAILED = "failed"
ERROR_CODES = {
    400: "bad-request",
    401: "unauthenticated",
    403: "permission-denied",
    404: "not-found",
    405: "method-not-allowed",
}
"""The code of an error for its HTTP status; `FAILED` for any other status."""


@dataclass(frozen=True)
class Health:
    """Which server answers. A launcher compares it with the state file."""

    api: int = API
    status: str = ""
    pid: int = 0
    boot_id: str = ""
    version: str = ""
    started_at: float = 0.0
    grpc_address: str = ""
    data_dir: str = ""


@dataclass(frozen=True)
class StoreStatus:
    """The part `store` of the status: bytes on disk, and the number of generations.

    The store writes nothing that would leave less than `min_free_bytes` of `free_disk_bytes`.
    """

    max_bytes: int = 0
    disk_bytes: int = 0
    free_disk_bytes: int = 0
    generations: int = 0
    min_free_bytes: int = 0


@dataclass(frozen=True)
class ExecutionStatus:
    """The part `execution` of the status: whether and how a server runs actions.

    `slots`: how many actions can run at once; `executing`: how many run now. `caches`: the path at
    which actions find the directories that they share, "" if they share none. `hermetic`: actions
    have no network. `show`: paths of homes that actions see because a setting says so. `notes`:
    sentences for the user of the server. `reasons`: sentences that say why the server runs no
    actions, or why it uses no stronger sandbox, each with its remedy.
    """

    offered: bool = False
    sandbox: str = ""
    slots: int = 0
    executing: int = 0
    caches: str = ""
    hermetic: bool = False
    show: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    reasons: tuple[str, ...] = ()


@dataclass(frozen=True)
class CallCount:
    """The part `calls` of the status, for each gRPC method. A cache miss is no error."""

    count: int = 0
    errors: int = 0


@dataclass(frozen=True)
class CacheCount:
    """The part `action_cache` of the status, for each instance."""

    hits: int = 0
    misses: int = 0
    writes: int = 0


@dataclass(frozen=True)
class ExecutionCount:
    """The part `executions` of the status, for each instance: how requests to execute ended.

    `executed`: the action ran to its end. `cached`: the action cache had its result. `failed`:
    there was no result.
    """

    executed: int = 0
    cached: int = 0
    failed: int = 0


@dataclass(frozen=True)
class RunSummary:
    """One invocation of a client, an element of `runs`; times in seconds since the epoch.

    `hits` and `misses` are what the server answered, and `saved_bytes` the outputs of the hits.
    The fields after it are those of a `RunReport` if there is one (`reported`), else "" and 0;
    without a report `saved_ms` is how long the processes took whose results were hits.
    """

    run: str = ""
    tool: str = ""
    instance: str = ""
    started_at: float = 0.0
    last_call_at: float = 0.0
    hits: int = 0
    misses: int = 0
    saved_bytes: int = 0
    reported: bool = False
    saved_ms: int = 0
    asked: int = 0
    cached: int = 0
    uncached: int = 0
    user: str = ""
    machine: str = ""
    root: str = ""
    command_line: str = ""
    goals: tuple[str, ...] = ()
    ended_at: float = 0.0
    outcome: str = ""
    executes: bool = False


def runs_json(runs: Iterable[RunSummary]) -> dict[str, Any]:
    """The answer to `RUNS`."""
    return {"runs": [to_json(run) for run in runs]}


def runs_from(raw: Mapping[str, object]) -> list[RunSummary]:
    """The runs in an answer to `RUNS`, the newest first."""
    listed = raw.get("runs")
    return [from_json(RunSummary, one) for one in listed] if isinstance(listed, list) else []


def check_request(instance: str) -> dict[str, str]:
    """The body of a request to `CHECK`."""
    return {"instance": instance}


def instance_to_check(raw: object) -> str | None:
    """The instance in the body of a request to `CHECK`; None if the body names none."""
    instance = raw.get("instance") if isinstance(raw, Mapping) else None
    return instance if isinstance(instance, str) else None


def places_request(repository: str, tools: Iterable[str]) -> dict[str, Any]:
    """The body of a request to `PLACES`.

    `repository`: the absolute path of the directory that the client works in. `tools`: absolute
    paths of directories of programs that its processes name, such as the client's own interpreter.
    """
    return {"repository": repository, "tools": [*tools]}


def places_in(raw: object) -> tuple[str, tuple[str, ...]] | None:
    """Repository and tools in the body of a request to `PLACES`; None if it names none."""
    if not isinstance(raw, Mapping):
        return None
    repository, tools = raw.get("repository"), raw.get("tools", [])
    if not isinstance(repository, str) or not isinstance(tools, list):
        return None
    return repository, tuple(tool for tool in tools if isinstance(tool, str))


def places_json() -> dict[str, str]:
    """The answer to `PLACES`."""
    return {"status": "shown"}


def stop_json() -> dict[str, str]:
    """The answer to `STOP`."""
    return {"status": STOPPING}


def rotated_json() -> dict[str, str]:
    """The answer to `ROTATE_TOKEN`."""
    return {"status": "rotated"}


def error_json(status: int, message: str) -> dict[str, str]:
    """The answer to a request that failed with an HTTP status."""
    return {"error": ERROR_CODES.get(status, FAILED), "message": message}
