"""Results for people and programs, through any `write(str)`: 80 columns, or a JSON document."""

from __future__ import annotations

import json
import textwrap
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass

from reapi_local_launcher.cli.init import Initialised
from reapi_local_launcher.errors import LauncherError
from reapi_local_launcher.server.check import Proof
from reapi_local_launcher.server.execution import Execution, execution_in
from reapi_local_launcher.server.launch import NotReady
from reapi_local_launcher.server.purge import Purged
from reapi_local_launcher.server.running import Running
from reapi_local_launcher.sizes import format_size

Write = Callable[[str], object]

_WIDTH = 80


@dataclass(frozen=True)
class Style:
    """Whether words may be coloured: only for a terminal, and only if NO_COLOR is unset."""

    colour: bool = False

    def good(self, text: str) -> str:
        return self._wrap("32", text)

    def bad(self, text: str) -> str:
        return self._wrap("31", text)

    def strong(self, text: str) -> str:
        return self._wrap("1", text)

    def _wrap(self, code: str, text: str) -> str:
        return f"\x1b[{code}m{text}\x1b[0m" if self.colour else text


PLAIN = Style()


def write_json(content: object, write: Write) -> None:
    """One JSON document and a line break."""
    write(json.dumps(content, indent=2, ensure_ascii=False) + "\n")


def error_text(error: LauncherError, write: Write, style: Style = PLAIN) -> None:
    """What happened, why, and what to do."""
    write(f"{style.bad('error:')} {error.what}\n")
    _indented("why:   ", error.why, write)
    _indented("remedy:", error.remedy, write)


def error_json(error: LauncherError) -> dict[str, object]:
    return {"error": {"what": error.what, "why": error.why, "remedy": error.remedy}}


def not_ready_text(answer: NotReady, write: Write) -> None:
    """Why there is no server at once, and what to do."""
    write(f"{answer.reason} {answer.remedy}\n")


def up_text(
    running: Running, execution: Execution, instance: str, write: Write, style: Style = PLAIN
) -> None:
    """Where the server is, what it offers, and the flags that make Bazel use it."""
    verb = {"found": "is running", "started": "was started", "replaced": "was replaced"}
    write(
        f"{style.good('reapi-local ' + running.version)} {verb[running.outcome]}, "
        f"process {running.pid}\n"
    )
    fields(
        [
            ("address", running.grpc_address),
            ("data", running.state.data_dir),
            ("limit", format_size(running.state.max_size_bytes)),
            ("execution", execution.summary),
        ],
        write,
    )
    notes(running.notes, write, style)
    write("\nBazel takes these flags; keep the token to yourself:\n")
    for flag in bazel_flags(running, instance):
        write(f"  {flag}\n")
    if execution.offered:
        write("\nTo run its actions on the server too, put this in place of the first:\n")
        write(f"  {_bazel_executor(running)}\n")


def up_json(running: Running, execution: Execution, instance: str) -> dict[str, object]:
    executor = [_bazel_executor(running)] if execution.offered else []
    return {
        **running_json(running, instance),
        "execution": asdict(execution),
        "bazel_execution_flags": executor,
    }


def bazel_flags(running: Running, instance: str = "default") -> list[str]:
    """Flags for a command line or a .bazelrc, quoted where they hold a space."""
    return [
        f"--remote_cache={running.grpc_address}",
        f"--remote_instance_name={instance}",
        f"'--remote_header=authorization=Bearer {running.token}'",
    ]


def _bazel_executor(running: Running) -> str:
    """The flag that makes Bazel run its actions there; it brings the cache with it."""
    return f"--remote_executor={running.grpc_address}"


def running_json(running: Running, instance: str = "default") -> dict[str, object]:
    return {
        "running": True,
        "outcome": running.outcome,
        "grpc_address": running.grpc_address,
        **asdict(running.state),
        "notes": list(running.notes),
        "bazel_flags": [flag.strip("'") for flag in bazel_flags(running, instance)],
    }


def stopped_text(stopped: bool, write: Write) -> None:
    write("The server was stopped.\n" if stopped else "No server was running.\n")


def check_text(proofs: Sequence[Proof], write: Write, style: Style = PLAIN) -> None:
    """A line for each proof with its time, and the remedy of each that failed."""
    names = max(len(proof.name) for proof in proofs)
    for proof in proofs:
        mark = style.good("ok    ") if proof.ok else style.bad("FAILED")
        lead = f"{mark}  {proof.name:<{names}}  {proof.milliseconds:>8.1f} ms  "
        detail = textwrap.wrap(proof.detail, _WIDTH - names - 23) or [""]
        write((lead + detail[0]).rstrip() + "\n")
        for line in detail[1:]:
            write(" " * (names + 23) + line + "\n")
        if not proof.ok and proof.remedy:
            _indented("        remedy:", proof.remedy, write)
    failed = sum(not proof.ok for proof in proofs)
    total = len(proofs)
    write(f"{failed} of {total} proofs failed.\n" if failed else f"All {total} proofs hold.\n")


def check_json(proofs: Sequence[Proof]) -> dict[str, object]:
    return {"ok": all(proof.ok for proof in proofs), "proofs": [asdict(proof) for proof in proofs]}


def status_text(status: Mapping[str, object], write: Write, style: Style = PLAIN) -> None:
    """The answer of /v1/status: sizes, execution, and what the action caches were good for."""
    store = _mapping(status.get("store"))
    up_s = max(0.0, time.time() - _number(status.get("started_at")))
    disk, limit = _number(store.get("disk_bytes")), _number(store.get("max_bytes"))
    share = f" ({disk / limit:.0%})" if limit else ""
    instances = status.get("instances")
    names = [str(name) or '""' for name in instances] if isinstance(instances, list) else []
    execution = execution_in(status)
    write(
        f"{style.good('reapi-local ' + str(status.get('version')))} is {status.get('status')}, "
        f"process {status.get('pid')}, up {_duration(up_s)}\n"
    )
    fields(
        [
            ("address", str(status.get("grpc_address"))),
            ("data", str(status.get("data_dir"))),
            ("size", f"{format_size(disk)} of {format_size(limit)}{share}"),
            ("disk", f"{format_size(_number(store.get('free_disk_bytes')))} free"),
            ("generations", str(store.get("generations"))),
            ("instances", ", ".join(names) or "none yet"),
            ("execution", execution.summary),
        ],
        write,
    )
    if not execution.offered:
        notes(execution.reasons, write, style)
    _table(
        ("action cache", "hits", "misses", "writes", "hit rate"),
        [_cache_row(name, counts) for name, counts in _named(status, "action_cache")],
        write,
        style,
    )
    _counts_table("executions", ("executed", "cached", "failed"), status, write, style)
    _counts_table("calls", ("count", "errors"), status, write, style)


def no_server_text(data_dir: str, up: str, write: Write) -> None:
    write(f"No server is running for {data_dir}\n`{up}` starts one.\n")


def purged_text(purged: Purged, write: Write) -> None:
    write(f"The store was emptied: {format_size(purged.freed_bytes)} of disk freed.\n")
    if purged.running is not None:
        running = purged.running
        write(f"The server was started again: {running.grpc_address}, process {running.pid}\n")


def init_text(done: Initialised, write: Write, style: Style = PLAIN) -> None:
    """What changed in the repository and what to do next."""
    if done.written or done.removed:
        write(f"{style.good('reapi-local ' + done.version)} is in pants-plugins now:\n")
        write(f"  {len(done.written)} files written, {len(done.removed)} removed\n")
    else:
        write(f"{style.good('reapi-local ' + done.version)} was in pants-plugins already.\n")
    if done.refusal:
        write("pants.toml was left as it is.\n")
        _indented("why:   ", done.refusal, write)
        write("Put these lines into it:\n")
        for line in done.paste:
            write(f"  {line}\n")
    elif done.pants_toml:
        write("Added to [GLOBAL] of pants.toml:\n")
        for line in done.pants_toml:
            write(f"  {line}\n")
    else:
        write("pants.toml loads it already.\n")
    write(f"Next: {'add the lines above, then ' if done.refusal else ''}`pants reapi-up`.\n")


def _cache_row(name: str, counts: Mapping[str, object]) -> tuple[str, ...]:
    hits, misses = _number(counts.get("hits")), _number(counts.get("misses"))
    rate = f"{hits / (hits + misses):.0%}" if hits + misses else "–"
    return (name or '""', *(_count(counts.get(one)) for one in ("hits", "misses", "writes")), rate)


def _counts_table(
    name: str, columns: tuple[str, ...], status: Mapping[str, object], write: Write, style: Style
) -> None:
    rows = [
        (one or '""', *(_count(counts.get(column)) for column in columns))
        for one, counts in _named(status, name)
    ]
    _table((name, *columns), rows, write, style)


def _table(
    header: tuple[str, ...], rows: Sequence[tuple[str, ...]], write: Write, style: Style
) -> None:
    """A table whose first column takes what the others leave of the width; nothing without rows."""
    if not rows:
        return
    widths = [max(map(len, column)) for column in zip(header, *rows)]
    widths[0] = min(widths[0], _WIDTH - sum(widths[1:]) - 2 * len(widths))
    write("\n")
    for number, row in enumerate([header, *rows]):
        name = row[0] if len(row[0]) <= widths[0] else "…" + row[0][-widths[0] + 1 :]
        numbers = "".join(f"  {cell:>{width}}" for cell, width in zip(row[1:], widths[1:]))
        line = f"  {name:<{widths[0]}}{numbers}"
        write((style.strong(line) if number == 0 else line) + "\n")


def fields(rows: Sequence[tuple[str, str]], write: Write) -> None:
    """A name and its value on each line."""
    width = max(len(name) for name, _ in rows)
    for name, value in rows:
        write(f"  {name:<{width}}  {value}\n")


def notes(sentences: Sequence[str], write: Write, style: Style) -> None:
    """What the user should know beside the result."""
    for note in sentences:
        _indented(style.strong("note:  "), note, write, lead_width=7)


def _indented(lead: str, text: str, write: Write, lead_width: int | None = None) -> None:
    """A lead and wrapped text; lines of the text's own, such as those of a log, stay whole."""
    indent = (len(lead) if lead_width is None else lead_width) + 1
    first, *own_lines = text.split("\n")
    lines = textwrap.wrap(first, _WIDTH - indent, break_long_words=False, break_on_hyphens=False)
    write(f"{lead} {lines[0] if lines else ''}\n")
    for line in lines[1:]:
        write(" " * indent + line + "\n")
    for line in own_lines:
        write(f"{line}\n")


def _duration(seconds: float) -> str:
    minutes, hours = int(seconds // 60), int(seconds // 3600)
    if hours >= 48:
        return f"{hours // 24} days"
    if hours:
        return f"{hours} h {minutes % 60} min"
    return f"{minutes} min" if minutes else f"{seconds:.0f} s"


def _mapping(value: object) -> Mapping[str, object]:
    return value if isinstance(value, dict) else {}


def _named(status: Mapping[str, object], part: str) -> list[tuple[str, Mapping[str, object]]]:
    """A part of the status that has counts for each of several names, by these."""
    return [(name, _mapping(counts)) for name, counts in sorted(_mapping(status.get(part)).items())]


def _count(value: object) -> str:
    return f"{_number(value):,.0f}"


def _number(value: object) -> float:
    return float(value) if isinstance(value, (int, float)) else 0.0
