"""The ledger: what the cache saved, and what it cost, in sums that the journal keeps."""

from __future__ import annotations

import sqlite3
from datetime import UTC, datetime
from typing import Any, Final

from reapi_contract import savings
from reapi_contract.savings import Costs, Saving, Savings
from reapi_local.journal.schema import DAY_SECONDS

# A run has the counters of its tool, or else what the server saw.
_SUMS_OF_RUNS: Final = (
    "count(*),"
    " sum(CASE WHEN report IS NULL THEN hits + misses ELSE asked END),"
    " sum(CASE WHEN report IS NULL THEN hits ELSE cached END),"
    " sum(CASE WHEN report IS NULL THEN hit_ms ELSE saved_ms END),"
    " sum(hit_bytes), sum(ran_ms)"
)
_SUMS_OF_PROCESSES: Final = (
    "0, sum(asked), sum(cached), sum(saved_ms), sum(saved_bytes), sum(ran_ms)"
)
_RUNS_BY: Final = {
    savings.RUN: "run",
    savings.USER: "user",
    savings.MACHINE: "machine",
    savings.DAY: f"cast(started_at / {DAY_SECONDS} AS INTEGER)",
}
_PROCESSES_BY: Final = (savings.GOAL, savings.TARGET)
"""They are ``process_days.kind``, too."""


def savings_by(
    connection: sqlite3.Connection, by: str, since: float, instance: str | None, limit: int
) -> Savings:
    """The savings of runs that started at ``since`` or later, rounded to the start of its day.

    ``by`` is one of :data:`reapi_contract.savings.GROUPS`. Goals and targets are known only for
    runs that were reported. ``limit`` limits the rows, the total is that of all.
    """
    day = int(since // DAY_SECONDS)
    values: dict[str, Any] = {
        "day": day,
        "since": day * DAY_SECONDS,
        "instance": instance,
        "limit": limit,
        "kind": by,
    }
    runs = " FROM runs WHERE started_at >= :since AND (:instance IS NULL OR instance = :instance)"
    days = " FROM process_days WHERE day >= :day AND (:instance IS NULL OR instance = :instance)"
    if by in _PROCESSES_BY:
        query = f"SELECT name, {_SUMS_OF_PROCESSES}{days} AND kind = :kind GROUP BY 1"
    else:
        query = f"SELECT {_RUNS_BY[by]}, {_SUMS_OF_RUNS}{runs} GROUP BY 1"
    order = {savings.DAY: "1", savings.RUN: "max(started_at)"}.get(by, "5")
    rows = connection.execute(f"{query} ORDER BY {order} DESC LIMIT :limit", values).fetchall()
    total = connection.execute(f"SELECT '', {_SUMS_OF_RUNS}{runs}", values).fetchone()
    return Savings(
        by=by,
        since=float(day * DAY_SECONDS),
        rows=tuple(_saving(_name(by, name), sums) for name, *sums in rows),
        total=_saving("", total[1:]),
        costs=_costs(connection, values),
        dropped=_dropped(connection),
    )


def _name(by: str, name: Any) -> str:
    if by == savings.DAY:
        return datetime.fromtimestamp(name * DAY_SECONDS, UTC).date().isoformat()
    return str(name)


def _saving(name: str, sums: Any) -> Saving:
    return Saving(name, *(number or 0 for number in sums))


def _costs(connection: sqlite3.Connection, values: dict[str, Any]) -> Costs:
    row = connection.execute(
        "SELECT sum(uploaded_bytes), sum(upload_ms), sum(downloaded_bytes), sum(download_ms),"
        " sum(evicted_bytes) FROM cost_days WHERE day >= :day"
        " AND (:instance IS NULL OR instance = :instance)",
        values,
    ).fetchone()
    up_bytes, up_ms, down_bytes, down_ms, evicted = (round(number or 0) for number in row)
    return Costs(0, up_bytes, up_ms, down_bytes, down_ms, evicted)


def _dropped(connection: sqlite3.Connection) -> int:
    row = connection.execute("SELECT number FROM counts WHERE name = 'dropped'").fetchone()
    return row[0] if row else 0
