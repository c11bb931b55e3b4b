"""Running one process under a supervisor, from the server's side."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import subprocess
import sys
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from itertools import chain
from pathlib import Path
from typing import Final, TypedDict

from reapi_local.execute.sandbox.interface import ActionLimits, SandboxError
from reapi_local.execute.sandbox.supervised.action_dirs import ActionDir
from reapi_local.threads import in_thread

PACKAGES: Final = str(Path(__file__).resolve().parents[4])
"""The directory that this package is imported from."""

INTERPRETER: Final = os.path.realpath(getattr(sys, "_base_executable", sys.executable))
"""The one below ``sys.base_prefix``: it needs no more than that, unlike one of a venv."""

_SOFT_OPEN_FILES: Final = 4096
_MAX_OPEN_FILES: Final = 1024 * 1024
_REPORT_BYTES: Final = 64 * 1024


class Process(TypedDict):
    """What to run, and how.

    ``working_directory`` and ``directories``, which are made beforehand, are absolute, as the
    process sees them. A limit is the name of an RLIMIT, its soft and its hard value. ``user``: the
    uid and gid to change to, None = none. ``contained``: to be kept from what a sandbox doesn't
    keep it from by itself.
    """

    arguments: list[str]
    environment: dict[str, str]
    working_directory: str
    directories: list[str]
    limits: list[tuple[str, int, int]]
    user: int | None
    contained: bool


class Order(Process):
    """What a supervisor is to do.

    ``streams``: for standard output and for standard error, the descriptors of both ends of a
    pipe, and of the file to capture it in.
    """

    streams: list[tuple[int, int, int]]


class Report(TypedDict):
    """What became of it.

    ``status`` as by wait(2). ``failure``: the step at which it could not be started, one of
    prepare, directories, chdir and exec, and errno. ``stopped``: it was killed because the server
    asked for that. ``refused``: why files took no more of its output, by errno. The rest is as in
    ``ProcessResult``.
    """

    status: int
    failure: tuple[str, int] | None
    stopped: bool
    refused: list[int]
    started_ns: int
    ended_ns: int
    user_seconds: float
    system_seconds: float
    max_rss_bytes: int


def rlimits(limits: ActionLimits, processes: int = 0) -> list[tuple[str, int, int]]:
    """As an ``Order`` has them; ``processes`` of one uid, 0 = as many as there may be."""
    found = [("RLIMIT_CORE", 0, 0), ("RLIMIT_NOFILE", _SOFT_OPEN_FILES, _MAX_OPEN_FILES)]
    if limits.cpu_seconds:
        # SIGXCPU at the soft limit; SIGKILL for who ignores it.
        found.append(("RLIMIT_CPU", limits.cpu_seconds, limits.cpu_seconds + 1))
    if limits.file_bytes:
        found.append(("RLIMIT_FSIZE", limits.file_bytes, limits.file_bytes))
    if processes:
        found.append(("RLIMIT_NPROC", processes, processes))
    return found


def supervisor_command(packages: str) -> list[str]:
    """``packages``: where this package is imported from, as the supervisor sees it."""
    start = (
        f"import sys; sys.path.insert(0, {packages!r}); "
        "from reapi_local.execute.sandbox.supervised.supervisor import main; main()"
    )
    return [INTERPRETER, "-I", "-S", "-X", "utf8", "-c", start]


async def supervise(
    command: Sequence[str], process: Process, place: ActionDir, stop: asyncio.Event
) -> Report:
    """Start ``command``, which is to run a supervisor, and wait for its report.

    When this returns or raises, nothing of it runs any more. A cancelled caller waits for that.

    Raises:
        SandboxError: there's no report.
    """
    ours, theirs = socket.socketpair()
    with ours:
        with theirs, ExitStack() as ends:
            files = (place.to_stdout, place.to_stderr)
            streams = [(*_pipe(process["user"], ends), file) for file in files]
            order: Order = {**process, "streams": streams}
            supervisor = _spawn(command, theirs.fileno(), order, place)
        try:
            report = await _converse(ours, order, stop)
        finally:
            ours.close()  # unless it has ended, the supervisor takes that as the order to kill
            await in_thread(supervisor.wait)
    if not report:
        code = supervisor.returncode
        said = place.said() or f"it ended with exit code {code} and said nothing"
        raise SandboxError(f"{os.path.basename(command[0])} failed: {said}")
    parsed: Report = json.loads(report)
    return parsed


def _pipe(owner: int | None, ends: ExitStack) -> tuple[int, int]:
    """Its owner may open it once more, as /dev/stderr."""
    read_end, write_end = os.pipe()
    ends.callback(os.close, read_end)
    ends.callback(os.close, write_end)
    if owner is not None:
        os.fchown(write_end, owner, owner)
    return read_end, write_end


def _spawn(
    command: Sequence[str], control: int, order: Order, place: ActionDir
) -> subprocess.Popen[bytes]:
    try:
        return subprocess.Popen(
            [*command, str(control)],
            stdin=subprocess.DEVNULL,
            stdout=place.sayings,
            stderr=place.sayings,
            # Not the server's variables, which aren't an action's business. Not the action's: this
            # is still outside of its sandbox, and it could have the likes of LD_PRELOAD among them.
            env={},
            cwd="/",
            pass_fds=(control, *chain.from_iterable(order["streams"])),
            start_new_session=True,
        )
    except OSError as error:
        raise SandboxError(f"can't start {command[0]}: {error}") from error


async def _converse(ours: socket.socket, order: Order, stop: asyncio.Event) -> bytes:
    """The report, or nothing if the supervisor ended without one."""
    ours.setblocking(False)
    loop = asyncio.get_running_loop()
    report = b""
    with suppress(ConnectionError):
        await loop.sock_sendall(ours, json.dumps(order).encode() + b"\n")
        hanging_up = asyncio.create_task(_hang_up(ours, stop))
        try:
            while chunk := await loop.sock_recv(ours, _REPORT_BYTES):
                report += chunk
        finally:
            hanging_up.cancel()
    return report


async def _hang_up(ours: socket.socket, stop: asyncio.Event) -> None:
    await stop.wait()
    with suppress(OSError):  # it has ended meanwhile
        ours.shutdown(socket.SHUT_WR)
