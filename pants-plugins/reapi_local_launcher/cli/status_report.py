"""`reapi-local status` as text."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from reapi_contract.admin_api import CacheCount, ExecutionStatus
from reapi_contract.data_dir import CACHES, INPUTS
from reapi_contract.json_records import to_json
from reapi_contract.sizes import format_size
from reapi_contract.status import Status
from reapi_local_launcher.cli.terminal import PLAIN, Style, Write, fields, notes, table
from reapi_local_launcher.disk.usage import BOOTSTRAP, DiskUsage
from reapi_local_launcher.labels import Labels
from reapi_local_launcher.server.execution_status import summary
from reapi_local_launcher.server.presence import Condition, NotServing, explain

_PARTS = {INPUTS: "input trees", CACHES: "named caches", BOOTSTRAP: "bootstrap of ./pants"}
"""How the parts of the disk usage are shown; all others have their own names."""


def status_text(status: Status, usage: DiskUsage, write: Write, style: Style = PLAIN) -> None:
    """Sizes, execution, and tables of the disk usage and of the counts since the start."""
    store, execution = status.store, status.execution or ExecutionStatus()
    _headline(status, write, style)
    fields(
        [
            *_places(status),
            ("disk", f"{format_size(store.free_disk_bytes)} free"),
            ("generations", str(store.generations)),
            ("instances", ", ".join(map(_shown, status.instances)) or "none yet"),
            ("execution", summary(execution)),
        ],
        write,
    )
    reasons = () if execution.offered else execution.reasons
    notes([*status.notes, *reasons], write, style)
    usage_table(usage, write, style)
    table(
        ("action cache", "hits", "misses", "writes", "hit rate"),
        [_cache_row(name, counts) for name, counts in sorted(status.action_cache.items())],
        write,
        style,
    )
    _counts_table("executions", status.executions, write, style)
    _counts_table("calls", status.calls, write, style)


def usage_table(usage: DiskUsage, write: Write, style: Style = PLAIN) -> None:
    """What reapi-local keeps on this machine; parts that are empty are left out."""
    rows = [
        (_PARTS.get(part, part), format_size(part_bytes))
        for part, part_bytes in usage.parts.items()
        if part_bytes
    ]
    if rows:
        rows.append(("total", format_size(usage.total_bytes)))
    table(("disk usage", "size"), rows, write, style)


def summary_text(status: Status, write: Write, style: Style = PLAIN) -> None:
    """The first lines of the status: where the server is, its size, and whether it executes."""
    _headline(status, write, style)
    execution = summary(status.execution or ExecutionStatus())
    fields([*_places(status), ("execution", execution)], write)


def _headline(status: Status, write: Write, style: Style) -> None:
    health = status.health
    up_s = max(0.0, time.time() - health.started_at)
    write(
        f"{style.good('reapi-local ' + health.version)} is {health.status}, "
        f"process {health.pid}, up {_duration(up_s)}\n"
    )


def _places(status: Status) -> list[tuple[str, str]]:
    health, store = status.health, status.store
    share = f" ({store.disk_bytes / store.max_bytes:.0%})" if store.max_bytes else ""
    return [
        ("address", health.grpc_address),
        ("data", health.data_dir),
        ("size", f"{format_size(store.disk_bytes)} of {format_size(store.max_bytes)}{share}"),
    ]


def no_server_text(without: NotServing, labels: Labels, write: Write) -> None:
    """Why no server serves, and what to do."""
    if without.condition is Condition.ABSENT:
        write(f"No server is running for {without.data_dir}\n`{labels.up}` starts one.\n")
        return
    why = explain(without, labels)
    write(f"{why.what} {why.why}\n{why.remedy}\n")


def _cache_row(name: str, counts: CacheCount) -> tuple[str, ...]:
    looked_up = counts.hits + counts.misses
    rate = f"{counts.hits / looked_up:.0%}" if looked_up else "–"
    return (_shown(name), f"{counts.hits:,}", f"{counts.misses:,}", f"{counts.writes:,}", rate)


def _counts_table(name: str, counts: Mapping[str, Any], write: Write, style: Style) -> None:
    """A table with a column for each field of the counts."""
    records = {key: to_json(record) for key, record in sorted(counts.items())}
    columns = [column for record in records.values() for column in record]
    header = (name, *dict.fromkeys(columns))
    rows = [
        (_shown(key), *(f"{count:,}" for count in record.values()))
        for key, record in records.items()
    ]
    table(header, rows, write, style)


def _shown(instance: str) -> str:
    """A name; the unnamed instance as two quotes."""
    return instance or '""'


def _duration(seconds: float) -> str:
    minutes, hours = int(seconds // 60), int(seconds // 3600)
    if hours >= 48:
        return f"{hours // 24} days"
    if hours:
        return f"{hours} h {minutes % 60} min"
    return f"{minutes} min" if minutes else f"{seconds:.0f} s"
