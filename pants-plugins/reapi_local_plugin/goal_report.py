"""What the goals show: for people at 80 columns, or as JSON. Imports nothing of Pants."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from typing import Any

from reapi_local_launcher.cli.report import (
    Style,
    Write,
    fields,
    notes,
    running_json,
)
from reapi_local_launcher.cli.report import (
    check_json as proofs_json,
)
from reapi_local_launcher.cli.report import check_text as proofs_text
from reapi_local_launcher.sizes import format_size
from reapi_local_plugin.operations import Checked, Down, Up
from reapi_local_plugin.pants_config.switches import Wiring


def up_text(up: Up, write: Write, style: Style) -> None:
    """Where the server is, what was written, what the check said, what to do next."""
    write(f"{_headline(up, style)}\n")
    shown = [("address", up.address), ("instance", up.instance)]
    if up.running is not None:
        state = up.running.state
        shown += [("data", state.data_dir), ("limit", format_size(state.max_size_bytes))]
    if up.execution is not None:
        shown.append(("execution", up.execution.summary))
    file = up.wiring.path.name
    shown += _wrapped("wrote", [f"{line} in {file}" for line in _settings(up.wiring.written)])
    shown += _wrapped("removed", [f"{line} from {file}" for line in _settings(up.wiring.removed)])
    shown += _wrapped("kept", up.wiring.kept)
    failed = sum(not proof.ok for proof in up.proofs)
    took = sum(proof.milliseconds for proof in up.proofs)
    if failed:
        shown.append(("check", style.bad(f"{failed} of {len(up.proofs)} proofs failed")))
    else:
        shown.append(("check", f"all {len(up.proofs)} proofs hold ({took:.0f} ms)"))
    fields(shown, write)
    notes([*up.notes, *up.obstacles], write, style)
    if failed:
        write("\n")
        proofs_text(up.proofs, write, style)
        return
    if up.obstacles:
        write("\nUntil that is changed Pants doesn't use the server. `pants reapi-check` shows\n")
        write("when it does; `pants reapi-down` takes it all back.\n")
        return
    does = "runs processes on it" if up.wiring.executes else "uses it"
    write(f"\nPants {does} from the next command on, say `pants test ::`.\n")
    write("`pants reapi-check` shows that it did; `pants reapi-down` takes it all back.\n")


def up_json(up: Up) -> dict[str, Any]:
    server = running_json(up.running, up.instance) if up.running else {"grpc_address": up.address}
    for secret in ("token", "bazel_flags"):  # Pants has them from the hook
        server.pop(secret, None)
    return {
        "ok": up.ok,
        "server": server,
        "instance": up.instance,
        "execution": None if up.execution is None else asdict(up.execution),
        "wiring": _wiring_json(up.wiring),
        "proofs": [asdict(proof) for proof in up.proofs],
        "notes": list(up.notes),
        "obstacles": list(up.obstacles),
    }


def check_text(checked: Checked, write: Write, style: Style) -> None:
    proofs_text(checked.proofs, write, style)


def check_json(checked: Checked) -> dict[str, Any]:
    return proofs_json(checked.proofs)


def down_text(down: Down, write: Write, style: Style) -> None:
    """What was stopped and what was taken back."""
    write("The server was stopped.\n" if down.stopped else "No server of this user was running.\n")
    file = down.wiring.path.name
    removed = [f"{line} from {file}" for line in _settings(down.wiring.removed)]
    shown = [*_wrapped("removed", removed), *_wrapped("kept", down.wiring.kept)]
    if not down.wiring.removed:
        write(f"There was nothing of ours in {file}.\n")
    if shown:
        fields(shown, write)
    notes([*_cut_off(down), *down.wiring.notes], write, style)
    if down.stopped:
        write("Other repositories that use the server start it again with their next build.\n")


def down_json(down: Down) -> dict[str, Any]:
    return {
        "stopped": down.stopped,
        "executing": down.executing,
        "wiring": _wiring_json(down.wiring),
    }


def _cut_off(down: Down) -> list[str]:
    if not down.executing:
        return []
    ran = "1 process" if down.executing == 1 else f"{down.executing} processes"
    note = (
        f"Builds had {ran} running on it. What didn't end within 10 seconds was ended with it, and "
        "a build that lost one, in whatever repository, fails: run it again."
    )
    return [note]


def _headline(up: Up, style: Style) -> str:
    if up.running is None:
        return f"Pants is wired to {style.good(up.address)}, a server run by somebody else"
    verbs = {"found": "is running", "started": "was started", "replaced": "was replaced"}
    name = style.good(f"reapi-local {up.running.version}")
    return f"{name} {verbs[up.running.outcome]}, process {up.running.pid}"


def _settings(lines: Sequence[str]) -> list[str]:
    """The lines without the table's header."""
    return [line for line in lines if not line.startswith("[")]


def _wrapped(name: str, lines: Iterable[str]) -> list[tuple[str, str]]:
    """A field for each line, and fields without a name for what of it is too long."""
    rows = []
    for line in lines:
        first, *more = textwrap.wrap(line, 66, break_long_words=False, break_on_hyphens=False)
        rows += [(name, first), *(("", rest) for rest in more)]
    return rows


def _wiring_json(wiring: Wiring) -> dict[str, Any]:
    return {**asdict(wiring), "path": str(wiring.path)}
