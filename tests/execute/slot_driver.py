"""A sandbox of the user who runs this program, told on standard input what to do.

Standard library only, so that any Python runs it. Each line in is a request, each line out its
answer, both JSON. It ends with its input.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any

from reapi_local.execute.sandbox.interface import (
    ActionLimits,
    ProcessResult,
    ProcessSpec,
    SandboxConfig,
    SandboxError,
)
from reapi_local.execute.sandbox.slot.slot_sandbox import SlotSandbox

_MAX_BYTES = 64 * 1024 * 1024


@dataclass(frozen=True)
class Seen:
    """An outcome with what its descriptors led to; ``files`` only those that were asked for."""

    exit_code: int
    stdout: str
    stderr: str
    files: dict[str, str]
    problem: str
    stopped: bool
    limits_exceeded: tuple[str, ...]
    cpu_seconds: float
    seconds: float


def seen(outcome: ProcessResult, files: Iterable[str] = ()) -> Seen:
    """Read it all while it is there."""
    return Seen(
        exit_code=outcome.exit_code,
        stdout=_text(outcome.stdout_fd),
        stderr=_text(outcome.stderr_fd),
        files={path: _file(path, outcome.root_fd) for path in files},
        problem=outcome.problem,
        stopped=outcome.stopped,
        limits_exceeded=tuple(outcome.limits_exceeded),
        cpu_seconds=outcome.user_seconds + outcome.system_seconds,
        seconds=(outcome.ended_ns - outcome.started_ns) / 1e9,
    )


def _text(descriptor: int) -> str:
    return os.pread(descriptor, _MAX_BYTES, 0).decode(errors="surrogateescape")


def _file(path: str, root: int) -> str:
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW, dir_fd=root)
    try:
        return _text(descriptor)
    finally:
        os.close(descriptor)


async def _answer(request: dict[str, Any], sandbox: SlotSandbox) -> dict[str, Any]:
    try:
        if "start" in request:
            await sandbox.start()
            return {"notes": sandbox.notes}
        spec = ProcessSpec(**request["spec"])
        async with sandbox.run(spec, asyncio.Event()) as outcome:
            return asdict(seen(outcome, request["files"]))
    except SandboxError as broken:
        return {"broken": str(broken)}


async def main() -> None:
    settings = json.loads(sys.argv[1])
    sandbox = SlotSandbox(SandboxConfig(limits=ActionLimits(**settings.pop("limits")), **settings))
    loop = asyncio.get_running_loop()
    while line := await loop.run_in_executor(None, sys.stdin.readline):
        print(json.dumps(await _answer(json.loads(line), sandbox)), flush=True)
    await sandbox.close()


if __name__ == "__main__":
    asyncio.run(main())
