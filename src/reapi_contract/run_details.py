"""One run with its processes and look-ups: the answer to `/v1/runs/RUN` of the admin interface."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from reapi_contract.admin_api import RunSummary
from reapi_contract.json_records import to_json
from reapi_contract.run_reports import ProcessReport


@dataclass(frozen=True)
class LookupRecord:
    """What the server answered when a run looked up an action, for the last time.

    `action`: its digest, "HASH/SIZE". `outcome`: `hit`, or the reason of the miss: `absent`,
    `incomplete` or `corrupt`. `missing`: the digests of some blobs that an incomplete entry lacks.
    """

    action: str = ""
    at: float = 0.0
    outcome: str = ""
    missing: tuple[str, ...] = ()


@dataclass(frozen=True)
class KnownProcess:
    """A process that was reported, and its action, "HASH/SIZE"; "" while it isn't known."""

    process: ProcessReport
    action: str = ""


@dataclass(frozen=True)
class RunDetails:
    """A run. `truncated`: it has more processes or look-ups than the answer."""

    run: RunSummary
    processes: tuple[KnownProcess, ...] = ()
    lookups: tuple[LookupRecord, ...] = ()
    truncated: bool = False


def details_json(details: RunDetails) -> dict[str, Any]:
    """The JSON object of a run; a process has the member `action` beside its own."""
    return {
        "run": to_json(details.run),
        "processes": [
            {**to_json(known.process), "action": known.action} for known in details.processes
        ],
        "lookups": [to_json(lookup) for lookup in details.lookups],
        "truncated": details.truncated,
    }
