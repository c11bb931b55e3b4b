"""The admin interface: its paths, and the JSON objects it answers with. Answers only grow."""

from __future__ import annotations

from dataclasses import dataclass

API = 1

HEALTH = "/v1/health"
STATUS = "/v1/status"
RUNS = "/v1/runs"
CHECK = "/v1/check"
STOP = "/v1/stop"
METRICS = "/metrics"
"""For Prometheus, in its text format; all others answer with JSON."""

SERVING = "serving"
STOPPING = "stopping"


@dataclass(frozen=True)
class Health:
    """What a launcher asks to learn whether this is the server it means."""

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
    """The part `store` of the status: bytes on disk, and the generations they are in."""

    max_bytes: int = 0
    disk_bytes: int = 0
    free_disk_bytes: int = 0
    generations: int = 0


@dataclass(frozen=True)
class ExecutionStatus:
    """The part `execution` of the status: whether and how a server runs actions.

    `slots`: how many at once; `executing`: how many now. `caches`: where they find the directories
    that they share, "" for nowhere. `hermetic`: they have no network. `notes` are sentences for
    whoever uses it; `reasons` say why it isn't offered, or why its sandbox isn't a stronger one,
    with the cure.
    """

    offered: bool = False
    sandbox: str = ""
    slots: int = 0
    executing: int = 0
    caches: str = ""
    hermetic: bool = False
    notes: tuple[str, ...] = ()
    reasons: tuple[str, ...] = ()


@dataclass(frozen=True)
class CallCount:
    """The part `calls` of the status, for each method: a cache miss is no error."""

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
    """The part `executions` of the status, for each instance.

    Actions run to their end, found in the action cache when one was to be run, and ended without a
    result.
    """

    executed: int = 0
    cached: int = 0
    failed: int = 0


@dataclass(frozen=True)
class RunSummary:
    """One invocation of a client, an element of `runs`; times in seconds since the epoch."""

    run: str = ""
    tool: str = ""
    instance: str = ""
    started_at: float = 0.0
    last_call_at: float = 0.0
    hits: int = 0
    misses: int = 0
