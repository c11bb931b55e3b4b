"""The results of the goals, as text of 80 columns or as JSON. Imports nothing of Pants."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Sequence
from typing import Any

from reapi_contract.explanations import explanation_from
from reapi_contract.json_records import to_json
from reapi_contract.printable import printable_json
from reapi_contract.sizes import format_size
from reapi_local_launcher.cli import report
from reapi_local_launcher.cli.explanation_report import explanation_text
from reapi_local_launcher.cli.terminal import Style, Write, fields, notes
from reapi_local_launcher.server.execution_status import summary
from reapi_local_plugin.goal_results import Checked, Down, Up, Why
from reapi_local_plugin.pants_config.switches import ConfigChange


def up_text(up: Up, write: Write, style: Style) -> None:
    """Where the server is, what was written, what the proofs said, and what to do next."""
    write(f"{_headline(up, style)}\n")
    shown = [("address", up.address), ("instance", up.instance)]
    if up.running is not None:
        state = up.running.state
        shown += [("data", state.data_dir), ("limit", format_size(state.max_size_bytes))]
    if up.execution is not None:
        shown.append(("execution", summary(up.execution)))
    file = up.config.path.name
    shown += _wrapped("wrote", [f"{line} in {file}" for line in _settings(up.config.added)])
    shown += _wrapped("removed", [f"{line} from {file}" for line in _settings(up.config.removed)])
    shown += _wrapped("kept", up.config.kept)
    failed = sum(not proof.ok for proof in up.proofs)
    took = sum(proof.milliseconds for proof in up.proofs)
    if failed:
        shown.append(("check", style.bad(f"{failed} of {len(up.proofs)} proofs failed")))
    else:
        shown.append(("check", f"all {len(up.proofs)} proofs hold ({took:.0f} ms)"))
    fields(shown, write)
    notes([*up.notes, *up.conflicts], write, style)
    if failed:
        write("\n")
        report.check_text(up.proofs, write, style)
        return
    if up.conflicts:
        write("\nUntil you change that, Pants doesn't use the server. `pants reapi-check` shows\n")
        write("when it does; `pants reapi-down` undoes all of this.\n")
        return
    does = "runs processes on it" if up.config.executes else "uses it"
    write(f"\nPants {does} from the next command on; try `pants test ::`.\n")
    write("`pants reapi-check` proves that; `pants reapi-down` undoes all of this.\n")


def up_json(up: Up) -> dict[str, Any]:
    """All of the result; no token, because Pants has it from the hook."""
    server: dict[str, object] = {"grpc_address": up.address}
    if up.running is not None:
        server = report.running_json(up.running)
    return {
        "ok": up.ok,
        "server": server,
        "instance": up.instance,
        "execution": None if up.execution is None else to_json(up.execution),
        "pants_config": _config_json(up.config),
        "proofs": [to_json(proof) for proof in up.proofs],
        "notes": list(up.notes),
        "conflicts": list(up.conflicts),
    }


def check_text(checked: Checked, write: Write, style: Style) -> None:
    report.check_text(checked.proofs, write, style)


def check_json(checked: Checked) -> dict[str, Any]:
    return report.check_json(checked.proofs)


def explain_text(why: Why, write: Write, style: Style) -> None:
    explanation_text(
        explanation_from(printable_json(why.answer)), write, style, details=why.details
    )


def explain_json(why: Why) -> dict[str, Any]:
    return why.answer


def down_text(down: Down, write: Write, style: Style) -> None:
    """What was stopped and what was taken back."""
    write("The server was stopped.\n" if down.stopped else "No server of this user was running.\n")
    file = down.config.path.name
    removed = [f"{line} from {file}" for line in _settings(down.config.removed)]
    shown = [*_wrapped("removed", removed), *_wrapped("kept", down.config.kept)]
    if not down.config.removed:
        write(f"{file} had no lines of reapi-local.\n")
    if shown:
        fields(shown, write)
    notes([*_lost_processes(down), *down.config.notes], write, style)
    if down.stopped:
        write("Other repositories that use the server start it again with their next build.\n")


def down_json(down: Down) -> dict[str, Any]:
    return {
        "stopped": down.stopped,
        "executing": down.executing,
        "pants_config": _config_json(down.config),
    }


def _lost_processes(down: Down) -> list[str]:
    if not down.executing:
        return []
    ran = "1 process" if down.executing == 1 else f"{down.executing} processes"
    note = (
        f"Builds had {ran} running on it. A process that took more than 10 seconds longer was "
        "ended with the server, and its build fails, in whichever repository it runs: run that "
        "build again."
    )
    return [note]


def _headline(up: Up, style: Style) -> str:
    if up.running is None:
        return f"Pants is set to use {style.good(up.address)}, a server run by somebody else"
    name = style.good(f"reapi-local {up.running.version}")
    return f"{name} {report.OUTCOMES[up.running.outcome]}, process {up.running.pid}"


def _settings(lines: Sequence[str]) -> list[str]:
    """The lines without the header of the table."""
    return [line for line in lines if not line.startswith("[")]


def _wrapped(name: str, lines: Iterable[str]) -> list[tuple[str, str]]:
    """A row for each line, and rows without a name for the rest of a line that is too long."""
    rows = []
    for line in lines:
        first, *more = textwrap.wrap(line, 66, break_long_words=False, break_on_hyphens=False)
        rows += [(name, first), *(("", rest) for rest in more)]
    return rows


def _config_json(config: ConfigChange) -> dict[str, Any]:
    return {**to_json(config), "path": str(config.path)}
