"""What the cache saved and what it cost: the answer to `SAVINGS` of the admin interface."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from reapi_contract.json_records import from_json, to_json

RUN, GOAL, TARGET, USER, MACHINE, DAY = "run", "goal", "target", "user", "machine", "day"
GROUPS = (DAY, RUN, GOAL, TARGET, USER, MACHINE)
"""By what savings can be summed up; a day is one of UTC."""


@dataclass(frozen=True)
class Saving:
    """What the cache saved for one day, run, goal, target, user or machine, named by `name`.

    `runs`: how many there were. `asked`: how often they asked the cache, `cached`: how many answers
    they could use. `saved_ms`: the time that these saved, as the tool counts it; for runs without a
    reporter the time that the processes took when they ran. `saved_bytes`: the outputs that were
    not made again. `ran_ms`: the time that the processes took that were no hits.
    """

    name: str = ""
    runs: int = 0
    asked: int = 0
    cached: int = 0
    saved_ms: int = 0
    saved_bytes: int = 0
    ran_ms: int = 0


@dataclass(frozen=True)
class Costs:
    """What the cache cost: `disk_bytes` now, the rest in the time that the savings are of.

    `uploaded_bytes` and `upload_ms`: what clients sent, and how long these calls took, which may
    run at the same time. `downloaded_bytes` and `download_ms` likewise. `evicted_bytes`: what was
    deleted to make room.
    """

    disk_bytes: int = 0
    uploaded_bytes: int = 0
    upload_ms: int = 0
    downloaded_bytes: int = 0
    download_ms: int = 0
    evicted_bytes: int = 0


@dataclass(frozen=True)
class Savings:
    """Savings of one kind, the newest or largest first, their total, and the costs.

    `since`: the time from which on they are counted, in seconds since the epoch; 0 for all that the
    server remembers. `dropped`: how many events the server had no time to keep.
    """

    by: str = DAY
    since: float = 0.0
    rows: tuple[Saving, ...] = ()
    total: Saving = field(default_factory=Saving)
    costs: Costs = field(default_factory=Costs)
    dropped: int = 0


def savings_json(savings: Savings) -> dict[str, Any]:
    """The JSON object of savings."""
    return to_json(savings)


def savings_from(raw: Mapping[str, object]) -> Savings:
    """The savings in a JSON object; a missing part has the defaults."""
    rows, since, dropped = raw.get("rows"), raw.get("since"), raw.get("dropped")
    return Savings(
        by=str(raw.get("by", DAY)),
        since=float(since) if isinstance(since, (int, float)) else 0.0,
        rows=tuple(from_json(Saving, row) for row in rows) if isinstance(rows, list) else (),
        total=from_json(Saving, raw.get("total")),
        costs=from_json(Costs, raw.get("costs")),
        dropped=dropped if isinstance(dropped, int) else 0,
    )
