"""A program that runs a slot sandbox and reads requests from standard input.

Standard library only, so that any Python can run it. Each input line is a request and each output
line an answer, both JSON. It ends at the end of its input.
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
    """A process result with the content of its descriptors; ``files`` as requested."""

    exit_code: int
    stdout: str
    stderr: str
    files: dict[str, str]
    problem: str
    stopped: bool
    limits_exceeded: tuple[str, ...]
    cpu_seconds: float
    seconds: float


def seen(process_result: ProcessResult, files: Iterable[str] = ()) -> Seen:
    """Read everything while the descriptors are open."""
    return Seen(
        exit_code=process_result.exit_code,
        stdout=_text(process_result.stdout_fd),
        stderr=_text(process_result.stderr_fd),
        files={path: _file(path, process_result.root_fd) for path in files},
        problem=process_result.problem,
        stopped=process_result.stopped,
        limits_exceeded=tuple(process_result.limits_exceeded),
        cpu_seconds=process_result.user_seconds + process_result.system_seconds,
        seconds=(process_result.ended_ns - process_result.started_ns) / 1e9,
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
        async with sandbox.run(spec, asyncio.Event()) as process_result:
            return asdict(seen(process_result, request["files"]))
    except SandboxError as sandbox_error:
        return {"broken": str(sandbox_error)}


async def main() -> None:
    settings = json.loads(sys.argv[1])
    sandbox = SlotSandbox(SandboxConfig(limits=ActionLimits(**settings.pop("limits")), **settings))
    loop = asyncio.get_running_loop()
    while line := await loop.run_in_executor(None, sys.stdin.readline):
        print(json.dumps(await _answer(json.loads(line), sandbox)), flush=True)
    await sandbox.close()


if __name__ == "__main__":
    asyncio.run(main())
