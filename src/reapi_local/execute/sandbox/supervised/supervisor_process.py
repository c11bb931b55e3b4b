"""A supervisor as the server sees it: a child process and a socket to talk to it."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import ExitStack, suppress
from itertools import chain
from pathlib import Path
from typing import Any, Final

from reapi_local.execute.sandbox.interface import ActionLimits, SandboxError
from reapi_local.execute.sandbox.report_checks import (
    MAX_REPORT_BYTES,
    USAGE_CHECKS,
    Check,
    check_report,
    is_count,
    is_text,
)
from reapi_local.execute.sandbox.supervised.action_dirs import ActionDir
from reapi_local.execute.sandbox.supervised.supervisor_messages import (
    SupervisedProcess,
    SupervisorReport,
    SupervisorRequest,
)
from reapi_local.threads import in_thread

PACKAGES: Final = str(Path(__file__).resolve().parents[4])
"""The directory that this package is imported from."""

INTERPRETER: Final = os.path.realpath(getattr(sys, "_base_executable", sys.executable))
"""The interpreter below ``sys.base_prefix``. Unlike that of a venv, it needs no other directory."""

_SOFT_OPEN_FILES: Final = 4096
_HARD_OPEN_FILES: Final = 1024 * 1024
_READ_BYTES: Final = 64 * 1024
_MAX_ERRNO: Final = 4096


def _is_errno(value: Any) -> bool:
    return is_count(value) and value < _MAX_ERRNO


def _is_wait_status(value: Any) -> bool:
    is_status = is_count(value) and value <= 0xFFFF
    return is_status and (os.WIFEXITED(value) or os.WIFSIGNALED(value))


def _is_start_failure(value: Any) -> bool:
    if value is None:
        return True
    return isinstance(value, list) and len(value) == 2 and is_text(value[0]) and _is_errno(value[1])


_REPORT_CHECKS: Final[Mapping[str, Check]] = {
    **USAGE_CHECKS,
    "wait_status": _is_wait_status,
    "start_failure": _is_start_failure,
    "write_errors": lambda value: isinstance(value, list) and all(map(_is_errno, value)),
}


def rlimits(limits: ActionLimits, processes: int = 0) -> list[tuple[str, int, int]]:
    """Limits for a ``SupervisedProcess``; ``processes`` that one uid may have, 0 = no limit."""
    found = [("RLIMIT_CORE", 0, 0), ("RLIMIT_NOFILE", _SOFT_OPEN_FILES, _HARD_OPEN_FILES)]
    if limits.cpu_seconds:
        # The soft limit sends SIGXCPU; the hard limit sends SIGKILL to processes that ignore it.
        found.append(("RLIMIT_CPU", limits.cpu_seconds, limits.cpu_seconds + 1))
    if limits.file_bytes:
        found.append(("RLIMIT_FSIZE", limits.file_bytes, limits.file_bytes))
    if processes:
        found.append(("RLIMIT_NPROC", processes, processes))
    return found


def supervisor_command(packages: str) -> list[str]:
    """``packages``: the directory that the supervisor imports this package from."""
    start = (
        f"import sys; sys.path.insert(0, {packages!r}); "
        "from reapi_local.execute.sandbox.supervised.supervisor import main; main()"
    )
    return [INTERPRETER, "-I", "-S", "-X", "utf8", "-c", start]


async def supervise(
    command: Sequence[str], process: SupervisedProcess, action_dir: ActionDir, stop: asyncio.Event
) -> SupervisorReport:
    """Start ``command``, which runs a supervisor, and wait for its report.

    When this returns or raises, all processes of the action have exited. So a cancelled caller
    waits for that, too.

    Raises:
        SandboxError: the supervisor sent no report.
    """
    ours, theirs = socket.socketpair()
    with ours:
        with theirs, ExitStack() as pipes:
            files = (action_dir.stdout_write_fd, action_dir.stderr_write_fd)
            streams = [(*_open_pipe(process["uid"], pipes), file) for file in files]
            request: SupervisorRequest = {**process, "streams": streams}
            supervisor = _start(command, theirs.fileno(), request, action_dir)
        try:
            report = await _exchange(ours, request, stop)
        finally:
            ours.close()  # a supervisor that still runs kills the action when we hang up
            await in_thread(supervisor.wait)
    if not report:
        code = supervisor.returncode
        reason = action_dir.log_tail() or f"it exited with code {code} and without a message"
        raise SandboxError(f"{os.path.basename(command[0])} failed: {reason}")
    return _parsed(command[0], report)


def _parsed(program: str, report: bytes) -> SupervisorReport:
    try:
        parsed: SupervisorReport = json.loads(report)
        check_report(parsed, _REPORT_CHECKS)
    except (ValueError, RecursionError) as error:
        raise SandboxError(f"{program} sent a malformed report: {error}") from None
    return parsed


def _open_pipe(owner: int | None, pipes: ExitStack) -> tuple[int, int]:
    """A pipe that belongs to ``owner``, because only its owner can open it as /dev/stderr."""
    read_end, write_end = os.pipe()
    pipes.callback(os.close, read_end)
    pipes.callback(os.close, write_end)
    if owner is not None:
        os.fchown(write_end, owner, owner)
    return read_end, write_end


def _start(
    command: Sequence[str], control: int, request: SupervisorRequest, action_dir: ActionDir
) -> subprocess.Popen[bytes]:
    try:
        return subprocess.Popen(
            [*command, str(control)],
            stdin=subprocess.DEVNULL,
            stdout=action_dir.stderr_log_fd,
            stderr=action_dir.stderr_log_fd,
            # No variables of the server, which actions must not see. No variables of the action
            # either: this process isn't in the sandbox yet, and LD_PRELOAD may be among them.
            env={},
            cwd="/",
            pass_fds=(
                control,
                *chain.from_iterable(request["streams"]),
                *request["rulesets"],
                *request["terminals"],
            ),
            start_new_session=True,
        )
    except OSError as error:
        raise SandboxError(f"can't start {command[0]}: {error}") from error


async def _exchange(ours: socket.socket, request: SupervisorRequest, stop: asyncio.Event) -> bytes:
    """Send the request and receive the report; b"" if the supervisor exits without a report."""
    ours.setblocking(False)
    loop = asyncio.get_running_loop()
    report = b""
    with suppress(ConnectionError):
        await loop.sock_sendall(ours, json.dumps(request).encode() + b"\n")
        hanging_up = asyncio.create_task(_hang_up_when_set(ours, stop))
        try:
            while len(report) < MAX_REPORT_BYTES and (
                chunk := await loop.sock_recv(ours, _READ_BYTES)
            ):
                report += chunk
        finally:
            hanging_up.cancel()
    return report


async def _hang_up_when_set(ours: socket.socket, stop: asyncio.Event) -> None:
    await stop.wait()
    with suppress(OSError):  # the supervisor has exited
        ours.shutdown(socket.SHUT_WR)
