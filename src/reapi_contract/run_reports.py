"""What a build tool tells about one of its runs and the processes of it, as JSON.

A reporter posts a `RunReport` and some `ProcessReport`s to `REPORTS` of the admin interface, as
often as it likes during a run. The run that comes last replaces the earlier ones; a process is
known by its `span`, so the same one may be posted twice. Values that look like secrets are masked
before they are sent: see `reapi_contract.masks`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from reapi_contract.json_records import from_json, to_json

MAX_BATCH_BYTES = 8 * 1024 * 1024
"""The largest body of a request; a reporter sends more processes in further requests."""

MAX_BATCH_PROCESSES = 1000

KEPT_SCOPES = ("Always", "Successful")
"""The cache scopes of Pants whose results outlive its daemon, so that it asks the remote cache."""

_MAX_NUMBER = 250_000_000_000
"""More than any counter; as a time it is within the last years that a date can have."""

RAN = "Ran"
HIT_REMOTELY = "HitRemotely"
"""Values of `ProcessReport.source`, as Pants names them; there may be others."""


@dataclass(frozen=True)
class RunReport:
    """One run of a build tool; times in seconds since the epoch, 0 for unknown.

    `run`: its name, the tool invocation id of REAPI's RequestMetadata. `machine`: a host name.
    `root`: the path of the repository. `outcome`: what the tool calls it, like SUCCESS; "" until it
    has ended. `executes`, `reads`, `writes`: whether the server runs its processes, and whether it
    reads and writes the action cache. `cache_namespace` and `platform_properties` ("NAME=VALUE")
    are options that are part of every action.

    The last four are the tool's own counters of the remote cache: how many processes it asked for,
    how many answers it could use and how many not, and the milliseconds that those saved.
    """

    run: str = ""
    instance: str = ""
    tool: str = ""
    tool_version: str = ""
    plugin_version: str = ""
    user: str = ""
    machine: str = ""
    root: str = ""
    command_line: str = ""
    goals: tuple[str, ...] = ()
    started_at: float = 0.0
    ended_at: float = 0.0
    outcome: str = ""
    executes: bool = False
    reads: bool = False
    writes: bool = False
    cache_namespace: str = ""
    platform_properties: tuple[str, ...] = ()
    asked: int = 0
    cached: int = 0
    uncached: int = 0
    saved_ms: int = 0


@dataclass(frozen=True)
class ProcessReport:
    """One process of a run, as the tool defines it, and where its result came from.

    `span`: the id of the process within the run. `goal` and `targets` (addresses): what it was
    needed for, where the tool knows that. `input_root`: the digest of its input tree,
    "HASH/SIZE". `timeout_ms`: 0 for none. `platform`, `strategy`, `environment_name`: where it is
    to run, in the tool's words. `caches`: directories by their names that processes share.
    `platform_properties`: "NAME=VALUE".
    `source`: RAN, HIT_REMOTELY or another. `asked`: whether the remote cache was asked.
    `exit_code`: -1 for unknown. `elapsed_ms`: how long it ran, also if that was in an earlier run.
    `saved_ms`: what a hit saved.
    """

    span: str = ""
    description: str = ""
    goal: str = ""
    targets: tuple[str, ...] = ()
    started_at: float = 0.0
    argv: tuple[str, ...] = ()
    env: Mapping[str, str] = field(default_factory=dict)
    working_directory: str = ""
    input_root: str = ""
    output_files: tuple[str, ...] = ()
    output_directories: tuple[str, ...] = ()
    timeout_ms: int = 0
    platform: str = ""
    strategy: str = ""
    environment_name: str = ""
    cache_scope: str = ""
    caches: Mapping[str, str] = field(default_factory=dict)
    platform_properties: tuple[str, ...] = ()
    source: str = ""
    asked: bool = False
    exit_code: int = -1
    elapsed_ms: int = 0
    saved_ms: int = 0


@dataclass(frozen=True)
class Reporting:
    """What a reporter has to know: the answer to GET `REPORTS`.

    `keeps`: whether the server keeps reports at all; else there is nothing to post. `secrets_key`:
    the key with which values that look like secrets are masked, in hexadecimal.
    """

    keeps: bool = False
    secrets_key: str = ""


@dataclass(frozen=True)
class Kept:
    """The answer to POST `REPORTS`: how many processes were kept now, and how many before."""

    kept: int = 0
    known: int = 0


def report_json(run: RunReport, processes: Iterable[ProcessReport]) -> dict[str, Any]:
    """The body of a request to POST `REPORTS`."""
    return {"run": to_json(run), "processes": [to_json(process) for process in processes]}


def report_from(raw: object) -> tuple[RunReport, list[ProcessReport]]:
    """The run and the processes in such a body.

    Raises:
        ValueError: with a sentence for people: it names no run, a process has no span, there are
            too many of them, or a number makes no sense.
    """
    body = raw if isinstance(raw, Mapping) else {}
    run = from_json(RunReport, body.get("run"))
    if not run.run:
        raise ValueError('the report names no run: send {"run": {"run": ID, …}, "processes": […]}')
    listed = body.get("processes")
    given = listed if isinstance(listed, list) else []
    if len(given) > MAX_BATCH_PROCESSES:
        raise ValueError(f"{len(given)} processes are too many, send {MAX_BATCH_PROCESSES} at once")
    processes = [from_json(ProcessReport, one) for one in given]
    if not all(process.span for process in processes):
        raise ValueError("a process has no span, the id by which it is known")
    for record in (run, *processes):
        _check_numbers(record)
    return run, processes


def _check_numbers(record: Any) -> None:
    """Raises ValueError for what no clock and no counter says."""
    for name, value in vars(record).items():
        lowest = -_MAX_NUMBER if name == "exit_code" else 0
        if isinstance(value, (int, float)) and not lowest <= value <= _MAX_NUMBER:
            raise ValueError(f"{name} can't be {value:g}")
