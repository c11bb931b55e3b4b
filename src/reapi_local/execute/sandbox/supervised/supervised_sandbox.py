"""What sandboxes share that give each action a directory and a supervisor of its own."""

from __future__ import annotations

import asyncio
import errno
import os
import signal
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Coroutine, Iterator
from contextlib import asynccontextmanager
from typing import Final

from reapi_local.execute.sandbox.interface import (
    INPUT_ROOT,
    ActionLimits,
    ProcessResult,
    ProcessSpec,
    SandboxError,
)
from reapi_local.execute.sandbox.limits_exceeded import in_words
from reapi_local.execute.sandbox.supervised.action_dirs import STOPPING, ActionDir, ActionDirs
from reapi_local.execute.sandbox.supervised.supervision import Process, Report, supervise

_PROBE: Final = ProcessSpec(arguments=("true",), environment={"PATH": os.defpath})


class SupervisedSandbox(ABC):
    """A :class:`~reapi_local.execute.sandbox.interface.Sandbox`, but for starting a process."""

    def __init__(self, limits: ActionLimits, dirs: ActionDirs) -> None:
        self._limits, self._dirs = limits, dirs
        self._running: set[asyncio.Task[Report]] = set()
        self._is_closed = False

    @property
    def root(self) -> str:
        return INPUT_ROOT

    @abstractmethod
    async def _start_with(self, spec: ProcessSpec, place: ActionDir) -> tuple[list[str], Process]:
        """The command that runs the supervisor, and the process it is to carry out."""

    async def start(self) -> None:
        await self._dirs.start()
        async with self.run(_PROBE, asyncio.Event()) as outcome:
            if outcome.exit_code:
                said = os.pread(outcome.stderr_fd, 1000, 0).decode(errors="replace").strip()
                reason = outcome.problem or said or f"exit code {outcome.exit_code}"
                raise SandboxError(f"it can't even run `true`: {reason}")

    async def close(self) -> None:
        """Waits for callers to leave :meth:`run`, so it isn't for one of them to call."""
        self._is_closed = True
        for task in self._running:
            task.cancel()
        await self._dirs.close()

    @asynccontextmanager
    async def run(self, spec: ProcessSpec, stop: asyncio.Event) -> AsyncIterator[ProcessResult]:
        async with self._dirs.taken(spec.layers) as place:
            command, process = await self._start_with(spec, place)
            if self._is_closed:
                raise SandboxError(STOPPING)
            report = await self._report(supervise(command, process, place, stop))
            used_up = self._dirs.used_up(place.root)
            yield _outcome(report, process, place, self._limits, used_up)

    async def _report(self, supervision: Coroutine[None, None, Report]) -> Report:
        task = asyncio.ensure_future(supervision)
        self._running.add(task)
        task.add_done_callback(self._running.discard)
        try:
            return await task
        except asyncio.CancelledError:
            caller = asyncio.current_task()
            if caller is None or caller.cancelling():
                raise
            raise SandboxError(STOPPING) from None


def _outcome(
    report: Report, process: Process, place: ActionDir, limits: ActionLimits, used_up: list[str]
) -> ProcessResult:
    code = os.waitstatus_to_exitcode(report["status"])
    exit_code = code if code >= 0 else 128 - code
    problem = ""
    if report["failure"] is not None:
        exit_code, problem = _why_not_started(process, *report["failure"])
    if report["refused"] and exit_code == 0:
        exit_code = 128 + signal.SIGPIPE  # its output lacks a part
    hit = {*used_up, *_limits_hit(exit_code, report["refused"])}
    hit = {name for name in hit if getattr(limits, name)}
    return ProcessResult(
        exit_code=exit_code,
        root_fd=place.root,
        stdout_fd=place.stdout,
        stderr_fd=place.stderr,
        started_ns=report["started_ns"],
        ended_ns=report["ended_ns"],
        problem=problem,
        stopped=report["stopped"],
        limits_exceeded=in_words(sorted(hit), limits),
        user_seconds=report["user_seconds"],
        system_seconds=report["system_seconds"],
        max_rss_bytes=report["max_rss_bytes"],
    )


def _why_not_started(process: Process, step: str, number: int) -> tuple[int, str]:
    """The exit code that a shell would give, and the reason in words."""
    program, reason = process["arguments"][0], os.strerror(number)
    if step == "directories":
        return 126, f"can't create the directories of its outputs: {reason}"
    if step == "chdir":
        return 126, f"can't enter the working directory {process['working_directory']}: {reason}"
    if step != "exec":
        raise SandboxError(f"can't make ready for {program}: {reason}")
    if number == errno.ENOENT and "/" not in program:
        search = process["environment"].get("PATH", os.defpath)
        return 127, f"{program} isn't in any directory of PATH={search}"
    if number in (errno.ENOENT, errno.ENOTDIR):
        return 127, f"{program} doesn't exist in the sandbox, or the interpreter it names doesn't"
    if number == errno.ENOEXEC:
        return 126, f"{program} is no program for this machine and has no #! line"
    return 126, f"{program} can't be run: {reason}"


def _limits_hit(exit_code: int, refused: list[int]) -> Iterator[str]:
    if exit_code == 128 + signal.SIGXCPU:
        yield "cpu_seconds"
    if exit_code == 128 + signal.SIGXFSZ or errno.EFBIG in refused:
        yield "file_bytes"
