"""The base class of sandboxes that give each action its own directory and its own supervisor."""

from __future__ import annotations

import asyncio
import errno
import os
import signal
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Coroutine, Iterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Final

from reapi_local.execute.sandbox.action_paths import INPUT_ROOT
from reapi_local.execute.sandbox.interface import (
    ActionLimits,
    ProcessResult,
    ProcessSpec,
    SandboxError,
)
from reapi_local.execute.sandbox.limit_messages import limit_messages
from reapi_local.execute.sandbox.supervised.action_dirs import STOPPING, ActionDir, ActionDirs
from reapi_local.execute.sandbox.supervised.supervisor_messages import (
    SupervisedProcess,
    SupervisorReport,
)
from reapi_local.execute.sandbox.supervised.supervisor_process import supervise

_PROBE: Final = ProcessSpec(arguments=("true",), environment={"PATH": os.defpath})
_PROBE_STDERR_BYTES: Final = 1000


class SupervisedSandbox(ABC):
    """A :class:`~reapi_local.execute.sandbox.interface.Sandbox` without the command to start."""

    def __init__(self, limits: ActionLimits, action_dirs: ActionDirs) -> None:
        self._limits, self._action_dirs = limits, action_dirs
        self._supervisions: set[asyncio.Task[SupervisorReport]] = set()
        self._is_closed = False

    @property
    def root(self) -> str:
        return INPUT_ROOT

    @abstractmethod
    async def _supervised(
        self, spec: ProcessSpec, action_dir: ActionDir
    ) -> tuple[list[str], SupervisedProcess]:
        """The command that runs the supervisor, and the process that the supervisor runs."""

    async def start(self) -> None:
        await self._action_dirs.start()
        async with self.run(_PROBE, asyncio.Event()) as process_result:
            if process_result.exit_code:
                stderr = os.pread(process_result.stderr_fd, _PROBE_STDERR_BYTES, 0)
                reason = (
                    process_result.problem
                    or stderr.decode(errors="replace").strip()
                    or f"exit code {process_result.exit_code}"
                )
                raise SandboxError(f"it can't even run `true`: {reason}")

    async def close(self) -> None:
        """Waits until all callers have left :meth:`run`, so don't call it within that block."""
        self._is_closed = True
        for task in self._supervisions:
            task.cancel()
        await self._action_dirs.close()

    @asynccontextmanager
    async def run(self, spec: ProcessSpec, stop: asyncio.Event) -> AsyncIterator[ProcessResult]:
        async with self._action_dirs.allocate(spec.layers) as action_dir:
            command, process = await self._supervised(spec, action_dir)
            if self._is_closed:
                raise SandboxError(STOPPING)
            report = await self._report(supervise(command, process, action_dir, stop))
            exceeded = self._action_dirs.limits_exceeded(action_dir.root_fd)
            result = _process_result(report, process, action_dir, self._limits, exceeded)
            yield replace(result, not_shown=self._remark_on(spec, result.exit_code))

    def _remark_on(self, spec: ProcessSpec, exit_code: int) -> str:
        """What ``ProcessResult.not_shown`` says; here everything is shown."""
        return ""

    async def _report(
        self, supervision: Coroutine[None, None, SupervisorReport]
    ) -> SupervisorReport:
        task = asyncio.ensure_future(supervision)
        self._supervisions.add(task)
        task.add_done_callback(self._supervisions.discard)
        try:
            return await task
        except asyncio.CancelledError:
            caller = asyncio.current_task()
            if caller is None or caller.cancelling():
                raise
            raise SandboxError(STOPPING) from None  # `close` cancelled the task, not the caller


def _process_result(
    report: SupervisorReport,
    process: SupervisedProcess,
    action_dir: ActionDir,
    limits: ActionLimits,
    scratch_limits_exceeded: list[str],
) -> ProcessResult:
    code = os.waitstatus_to_exitcode(report["wait_status"])
    exit_code = code if code >= 0 else 128 - code
    problem = ""
    if report["start_failure"] is not None:
        exit_code, problem = _why_not_started(process, *report["start_failure"])
    if report["write_errors"] and exit_code == 0:
        exit_code = 128 + signal.SIGPIPE  # its output is incomplete, though it ignored that signal
    process_limits = _process_limits_exceeded(exit_code, report["write_errors"])
    exceeded = {*scratch_limits_exceeded, *process_limits}
    configured = sorted(name for name in exceeded if getattr(limits, name))
    return ProcessResult(
        exit_code=exit_code,
        root_fd=action_dir.root_fd,
        stdout_fd=action_dir.stdout_fd,
        stderr_fd=action_dir.stderr_fd,
        started_ns=report["started_ns"],
        ended_ns=report["ended_ns"],
        problem=problem,
        stopped=report["stopped"],
        limits_exceeded=limit_messages(configured, limits),
        user_seconds=report["user_seconds"],
        system_seconds=report["system_seconds"],
        max_rss_bytes=report["max_rss_bytes"],
    )


def _why_not_started(process: SupervisedProcess, step: str, number: int) -> tuple[int, str]:
    """The exit code that a shell would give, and the reason in words."""
    program, reason = process["arguments"][0], os.strerror(number)
    if step == "directories":
        return 126, f"can't create the directories of its outputs: {reason}"
    if step == "chdir":
        return 126, f"can't enter the working directory {process['working_directory']}: {reason}"
    if step != "exec":
        raise SandboxError(f"can't set up the process of {program}: {reason}")
    if number == errno.ENOENT and "/" not in program:
        search_path = process["environment"].get("PATH", os.defpath)
        return 127, f"{program} isn't in any directory of PATH={search_path}"
    if number in (errno.ENOENT, errno.ENOTDIR):
        return 127, f"{program}, or the interpreter that it names, doesn't exist in the sandbox"
    if number == errno.ENOEXEC:
        return 126, f"{program} isn't a program for this machine and has no #! line"
    return 126, f"{program} can't be executed: {reason}"


def _process_limits_exceeded(exit_code: int, write_errors: list[int]) -> Iterator[str]:
    if exit_code == 128 + signal.SIGXCPU:
        yield "cpu_seconds"
    if exit_code == 128 + signal.SIGXFSZ or errno.EFBIG in write_errors:
        yield "file_bytes"
