"""The results of commands, as text for people or as JSON for programs."""

from __future__ import annotations

from collections.abc import Sequence

from reapi_contract.admin_api import ExecutionStatus
from reapi_contract.json_records import to_json
from reapi_contract.printable import printable
from reapi_contract.proof import Proof, proofs_json
from reapi_contract.sizes import format_size
from reapi_local_launcher.cli import bazelrc
from reapi_local_launcher.cli.init import Initialised
from reapi_local_launcher.cli.terminal import (
    PLAIN,
    WIDTH,
    Style,
    Write,
    fields,
    indented,
    notes,
    wrapped,
)
from reapi_local_launcher.launcher_error import LauncherError
from reapi_local_launcher.server.execution_status import summary
from reapi_local_launcher.server.purge import Purged
from reapi_local_launcher.server.running import FOUND, REPLACED, STARTED, Running

OUTCOMES = {FOUND: "is running", STARTED: "was started", REPLACED: "replaced the server that ran"}
"""How reports describe a server after each outcome of a launch."""


def error_text(error: LauncherError, write: Write, style: Style = PLAIN) -> None:
    """What happened, why, and what to do."""
    write(f"{style.bad('error:')} {printable(error.what)}\n")
    indented("why:   ", error.why, write)
    indented("remedy:", error.remedy, write)


def error_json(error: LauncherError) -> dict[str, object]:
    return {"error": {"what": error.what, "why": error.why, "remedy": error.remedy}}


def up_text(
    running: Running,
    execution: ExecutionStatus,
    bazelrc_lines: Sequence[str],
    write: Write,
    style: Style = PLAIN,
    *,
    with_token: bool = False,
) -> None:
    """Where the server is, what it offers, and how Bazel uses it: `bazelrc_lines`."""
    name = style.good(f"reapi-local {running.version}")
    write(f"{name} {OUTCOMES[running.outcome]}, process {running.pid}\n")
    shown = [
        ("address", running.grpc_address),
        ("data", running.state.data_dir),
        ("limit", format_size(running.state.max_size_bytes)),
        ("execution", summary(execution)),
    ]
    if with_token:
        shown.append(("token", running.token))
    fields(shown, write)
    notes(running.notes, write, style)
    write("\n")
    for line in bazelrc_lines:
        write(f"{line}\n")


def bazelrc_lines(command: str, file: str, execution: ExecutionStatus) -> list[str]:
    """How Bazel uses the server: the command that writes `file`, and the line for ~/.bazelrc."""
    found = [
        "Bazel uses it after this command, which writes a file that only you can read:",
        f"  {command} --output ~/{bazelrc.FILE}",
        "and with this line in ~/.bazelrc:",
        f"  try-import {bazelrc.quoted(file)}",
    ]
    if execution.offered:
        found.append("With `--execution` added to the command it runs its actions on the server.")
    return found


def up_json(
    running: Running, execution: ExecutionStatus, instance: str, *, with_token: bool = False
) -> dict[str, object]:
    executor = [bazelrc.executor(running)] if execution.offered else []
    token = {"token": running.token} if with_token else {}
    return {
        **running_json(running),
        **token,
        "execution": to_json(execution),
        "bazel_flags": bazelrc.flags(running, instance, with_token=with_token),
        "bazel_execution_flags": executor,
    }


def running_json(running: Running) -> dict[str, object]:
    """The state file's fields without the token, the outcome of the launch, and notes."""
    state = to_json(running.state)
    del state["token"]
    return {
        "running": True,
        "outcome": running.outcome,
        "grpc_address": running.grpc_address,
        **state,
        "notes": list(running.notes),
    }


def stopped_text(stopped: bool, write: Write) -> None:
    write("The server was stopped.\n" if stopped else "No server was running.\n")


def check_text(proofs: Sequence[Proof], write: Write, style: Style = PLAIN) -> None:
    """One line for each proof with its time, and the remedy of each that failed."""
    names = max(len(proof.name) for proof in proofs)
    for proof in proofs:
        mark = style.good("ok    ") if proof.ok else style.bad("FAILED")
        lead = f"{mark}  {proof.name:<{names}}  {proof.milliseconds:>8.1f} ms  "
        detail = wrapped(printable(proof.detail), WIDTH - names - 23)
        write((lead + detail[0]).rstrip() + "\n")
        for line in detail[1:]:
            write(" " * (names + 23) + line + "\n")
        if not proof.ok and proof.remedy:
            indented("        remedy:", proof.remedy, write)
    failed = sum(not proof.ok for proof in proofs)
    total = len(proofs)
    write(f"{failed} of {total} proofs failed.\n" if failed else f"All {total} proofs hold.\n")


def check_json(proofs: Sequence[Proof]) -> dict[str, object]:
    return {"ok": all(proof.ok for proof in proofs), **proofs_json(proofs)}


def purged_text(purged: Purged, write: Write) -> None:
    write(f"The store was emptied: {format_size(purged.freed_bytes)} of disk freed.\n")
    if purged.running is not None:
        running = purged.running
        write(f"The server was started again: {running.grpc_address}, process {running.pid}\n")


def purged_json(purged: Purged) -> dict[str, object]:
    running = purged.running
    if running is None:
        return {"freed_bytes": purged.freed_bytes, "running": None}
    flags = bazelrc.flags(running, bazelrc.instance_of(running.state), with_token=False)
    shown = {**running_json(running), "bazel_flags": flags}
    return {"freed_bytes": purged.freed_bytes, "running": shown}


def init_text(done: Initialised, write: Write, style: Style = PLAIN) -> None:
    """What changed in the repository, and what to do next."""
    name = style.good(f"reapi-local {done.version}")
    if done.written or done.removed:
        write(f"{name} is in pants-plugins now:\n")
        write(f"  {len(done.written)} files written, {len(done.removed)} removed\n")
    else:
        write(f"{name} was in pants-plugins already.\n")
    if done.refusal:
        write("pants.toml was not changed.\n")
        indented("why:   ", done.refusal, write)
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
