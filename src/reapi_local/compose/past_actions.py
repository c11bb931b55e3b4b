"""The commands ``export``, ``replay`` and ``shell``, which do something with a past action."""

from __future__ import annotations

import asyncio
import json
import os
import shlex
import signal
import sys
import textwrap
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from reapi_contract import command_line
from reapi_contract.inspection import WHY_GONE
from reapi_contract.state import State, read_state
from reapi_local.access.principal import OWNER
from reapi_local.client.connection import Connection, connected, metadata_of
from reapi_local.client.export import write_export
from reapi_local.client.remote_blobs import RemoteBlobs
from reapi_local.client.replay import replay
from reapi_local.client.replay_report import report_json, report_lines
from reapi_local.client.terminal import inner_terminal
from reapi_local.compose.workbench import NoSandbox, Workbench, workbench
from reapi_local.context import Context
from reapi_local.errors import MissingInputs, ReapiError
from reapi_local.execute.clients.selection import name_for_replay
from reapi_local.execute.job import Job
from reapi_local.execute.sandbox.action_paths import INPUT_ROOT
from reapi_local.execute.sandbox.interface import ProcessSpec, SandboxError
from reapi_local.probe.remote_server import CannotTry, Remote
from reapi_local.proto import remote_execution_pb2 as re_pb2
from reapi_local.protocol.command import parse_action
from reapi_local.protocol.digest import Digest, DigestFunction, parse_digest_text
from reapi_local.threads import in_thread

_FAILED: Final = 1
_LINES: Final[Mapping[str, Any]] = {
    "width": 80,
    "subsequent_indent": " " * 8,
    "break_long_words": False,
    "break_on_hyphens": False,
}
_UNLIKE: Final = 3
_SHELLS: Final = ("/bin/bash", "/usr/bin/bash")


class CannotDo(Exception):
    """The command failed: what happened, why, and the remedy."""

    def __init__(self, what: str, why: str, remedy: str) -> None:
        super().__init__(what, why, remedy)
        self.parts = (what, why, remedy)


@dataclass(frozen=True)
class _Task:
    """The action that a command is about, and its server."""

    connection: Connection
    state: State
    action: Digest
    context: Context


def run(command: str, options: dict[str, Any]) -> int:
    """Run a command; returns the exit status: 3 if a replay made something else."""
    do = {
        command_line.EXPORT: _export,
        command_line.REPLAY: _replay,
        command_line.SHELL: _shell,
    }[command]
    try:
        return asyncio.run(_with_task(options, do))
    except CannotDo as error:
        _show(error, as_json=options.get("json", False))
        return _FAILED


async def _with_task(
    options: dict[str, Any], do: Callable[[_Task, dict[str, Any]], Coroutine[Any, Any, int]]
) -> int:
    state = read_state(Path(options["data_dir"]))
    if state is None:
        raise CannotDo(
            "The server is gone.",
            f"{options['data_dir']} has no state file any more.",
            "Start it with `reapi-local up`.",
        )
    hash_hex, _, size = options["action"].partition("/")
    digest = parse_digest_text(DigestFunction[options["function"]], hash_hex, int(size))
    try:
        client = Remote(options["address"], "", state.ca_certs_path).client()
        async with connected(replace(client, token=state.token), options["instance"]) as connection:
            tool = name_for_replay(await _command_of(connection, digest))
            context = Context(OWNER, options["instance"], metadata_of(tool))
            return await do(_Task(connection, state, digest, context), options)
    except MissingInputs as error:
        raise CannotDo("The action can't be run again.", _sentence(error), WHY_GONE) from error
    except (ReapiError, CannotTry, SandboxError, OSError) as error:
        raise CannotDo(
            "It did not work.",
            _sentence(error),
            "`reapi-local check` tells whether the server works, `reapi-local show` what the "
            "action is.",
        ) from error


async def _command_of(connection: Connection, action: Digest) -> re_pb2.Command:
    blobs, nobody = RemoteBlobs(connection), Context(OWNER, "", b"")
    wanted = action
    for _ in range(2):
        data = (await blobs.read_many(nobody, [wanted])).get(wanted)
        if data is None:
            raise MissingInputs((wanted,))
        if wanted is not action:
            return re_pb2.Command.FromString(data)
        wanted = parse_action(data, action.function).command
    raise AssertionError("the second blob is the command")


async def _export(task: _Task, options: dict[str, Any]) -> int:
    directory = Path(options["to"])
    async with workbench(task.connection, for_sandbox=False) as bench:
        job = await bench.resolver.resolve(task.context, task.action)
        async with bench.input_roots.hold(task.context, job.action.input_root) as layers:
            spec = bench.environment.bind(job, INPUT_ROOT, layers, None)
            await in_thread(write_export, directory, job, spec)
    print(f"The action is in {directory}\n`{shlex.quote(str(directory / 'run'))}` runs it.")
    return 0


async def _replay(task: _Task, options: dict[str, Any]) -> int:
    done = await replay(
        task.connection, task.context, task.action, lambda line: print(line, file=sys.stderr)
    )
    if options["json"]:
        print(json.dumps(report_json(str(task.action), done), indent=2))
    else:
        for line in report_lines(done):
            print(line)
    return _UNLIKE if done.unlike else 0


async def _shell(task: _Task, options: dict[str, Any]) -> int:
    async with workbench(task.connection, for_sandbox=True, hermetic=options["hermetic"]) as bench:
        job = await bench.resolver.resolve(task.context, task.action)
        try:
            return await _shell_on(bench, job, task.state, options)
        except NoSandbox as error:
            raise CannotDo(
                "No sandbox works on this machine.",
                str(error),
                "Remove the cause; or use `reapi-local export`, which needs no sandbox.",
            ) from error


async def _shell_on(bench: Workbench, job: Job, state: State, options: dict[str, Any]) -> int:
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGHUP):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    async with (
        bench.sandbox(options["sandbox"], state, options["show"]) as sandbox,
        bench.input_roots.hold(job.context, job.action.input_root) as layers,
    ):
        with bench.environment.caches(job) as caches:
            spec = bench.environment.bind(job, sandbox.root, layers, caches)
            for line in _welcome(spec):
                print(line, flush=True)
            with inner_terminal(sys.stdin.fileno(), sys.stdout.fileno()) as terminal:
                async with sandbox.run(_as_shell(spec, terminal), stop) as process:
                    return process.exit_code


def _as_shell(spec: ProcessSpec, terminal: int) -> ProcessSpec:
    """A shell in place of the action's program; the function `run` runs that."""
    bash = next(filter(os.path.exists, _SHELLS), None)
    more = {"TERM": os.environ.get("TERM", "dumb"), "PS1": r"action:\w\$ " if bash else "action$ "}
    if bash:
        more["BASH_FUNC_run%%"] = f"() {{ {shlex.join(spec.arguments)}; }}"
    return replace(
        spec,
        arguments=(bash, "--norc", "--noprofile") if bash else ("/bin/sh",),
        environment={**more, **spec.environment},
        terminal=terminal,
    )


def _welcome(spec: ProcessSpec) -> tuple[str, ...]:
    return (
        "A shell in the sandbox of the action. What you change is gone when you leave.",
        "`run` runs the action's command, and `declare -f run` shows it.",
    )


def _sentence(error: Exception) -> str:
    text = str(error) or type(error).__name__
    return f"{text[:1].upper()}{text[1:]}".rstrip(".") + "."


def _show(error: CannotDo, *, as_json: bool) -> None:
    what, why, remedy = error.parts
    if as_json:
        print(json.dumps({"error": {"what": what, "why": why, "remedy": remedy}}, indent=2))
        return
    print(f"error: {what}", file=sys.stderr)
    for lead, text in (("why:    ", why), ("remedy: ", remedy)):
        print(textwrap.fill(text, initial_indent=lead, **_LINES), file=sys.stderr)
