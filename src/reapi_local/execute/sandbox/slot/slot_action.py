"""Inside a slot: runs one action's process until it and all its descendants have exited."""

from __future__ import annotations

import contextlib
import errno
import os
import select
import signal
import socket
import stat
import time
from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple

from reapi_local.execute.sandbox.control_terminal import control_terminal
from reapi_local.execute.sandbox.slot.slot_messages import (
    SlotReport,
    SlotRequest,
    receive_message,
)
from reapi_local.execute.sandbox.slot.workspace import Workspace
from reapi_local.execute.sandbox.stdio_capture import StdioCapture

_REAP_INTERVAL_MS: Final = 1000
_BUSY_ATTEMPTS: Final = 40
_BUSY_RETRY_SECONDS: Final = 0.005
_DEFAULT_PATH: Final = "/bin:/usr/bin"
_CLOCK_TICKS_PER_SECOND: Final = os.sysconf("SC_CLK_TCK")
_ALL_SIGNALS: Final = sorted(signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP})


class FinishedAction(NamedTuple):
    """The report, and the descriptors of input root, stdout and stderr to send with it."""

    report: SlotReport
    descriptors: tuple[int, int, int]


class _NotStarted(Exception):
    """The action can't be started, by its own fault. ``exit_code`` is what a shell would give."""

    def __init__(self, exit_code: int, problem: str) -> None:
        super().__init__(problem)
        self.exit_code = exit_code
        self.problem = problem


def run_action(
    request: SlotRequest,
    workspace: Workspace,
    server: socket.socket,
    cpu_seconds: int,
    terminals: Sequence[int] = (),
) -> FinishedAction:
    """Run an action until it ends, exceeds ``cpu_seconds`` or the server sends a stop.

    ``terminals``: the descriptor of the terminal that it gets; empty = none.

    Raises:
        OSError: the sandbox failed.
        EOFError: the server is gone.
    """
    root = workspace.enter(request["layers"], request["caches"])
    stdout, stderr = workspace.stdout, workspace.stderr
    process = _ActionProcess(cpu_seconds)
    try:
        _prepare_directories(request)
        with workspace.raised_oom_score():
            process.start(request, stdout, stderr, terminals)
    except _NotStarted as failure:
        process.exit_code, process.problem = failure.exit_code, failure.problem
    finally:
        for capture in (stdout, stderr):
            capture.close_write_end()
    if process.pid:
        process.wait(server, (stdout, stderr))
        process.kill_all()
    for capture in (stdout, stderr):
        capture.finish()
    return FinishedAction(_report(process, workspace), (root, stdout.file, stderr.file))


def _report(process: _ActionProcess, workspace: Workspace) -> SlotReport:
    limits_exceeded = set(workspace.limits_exceeded())
    if process.is_over_cpu_limit:
        limits_exceeded.add("cpu_seconds")
    if process.exit_code == 128 + signal.SIGXFSZ:
        limits_exceeded.add("file_bytes")
    exit_code = process.exit_code
    if exit_code == 0 and workspace.has_lost_output():
        exit_code = 128 + signal.SIGPIPE  # it ignored that signal
    return {
        "exit_code": exit_code,
        "problem": process.problem,
        "stopped": process.is_stopped,
        "started_ns": process.started_ns,
        "ended_ns": process.ended_ns,
        "user_seconds": process.user_seconds,
        "system_seconds": process.system_seconds,
        "max_rss_bytes": process.max_rss_kib * 1024,
        "limits_exceeded": sorted(limits_exceeded),
        "discard": workspace.is_dirty(),
    }


class _ActionProcess:
    """The action's process and all its descendants."""

    def __init__(self, cpu_seconds: int) -> None:
        self.pid = 0
        self.exit_code = 0
        self.problem = ""
        self.is_stopped = self.is_over_cpu_limit = False
        self.started_ns = self.ended_ns = time.time_ns()
        self.user_seconds = self.system_seconds = 0.0
        self.max_rss_kib = 0
        self._cpu_seconds = cpu_seconds
        self._has_exited = False

    def start(
        self,
        request: SlotRequest,
        stdout: StdioCapture,
        stderr: StdioCapture,
        terminals: Sequence[int],
    ) -> None:
        """Raises _NotStarted."""
        self.started_ns = self.ended_ns = time.time_ns()
        start = _program(request)
        if terminals:
            self.pid = _spawn_on_terminal(*start, terminals[0])
        else:
            self.pid = _spawn(*start, stdout, stderr)

    def wait(self, server: socket.socket, captures: Iterable[StdioCapture]) -> None:
        """Wait until the process exits or has to be killed; save its output meanwhile."""
        pidfd = os.pidfd_open(self.pid)
        poller = select.poll()
        poller.register(pidfd, select.POLLIN)
        poller.register(server, select.POLLIN)
        readable = {capture.read_end: capture for capture in captures}
        for descriptor in readable:
            poller.register(descriptor, select.POLLIN)
        try:
            while not (self._has_exited or self.is_stopped or self.is_over_cpu_limit):
                events = [descriptor for descriptor, _ in poller.poll(_REAP_INTERVAL_MS)]
                for descriptor in events:
                    if descriptor in readable and not readable[descriptor].drain():
                        poller.unregister(descriptor)
                        del readable[descriptor]
                if pidfd in events:
                    return
                if server.fileno() in events:
                    self.is_stopped = "stop" in receive_message(server)[0]
                self._reap_orphans()
        finally:
            os.close(pidfd)

    def kill_all(self) -> None:
        """Kill everything in the pid namespace but the slot, daemons too, and reap it."""
        self.ended_ns = time.time_ns()
        with contextlib.suppress(ProcessLookupError):
            os.kill(-1, signal.SIGKILL)
        self._reap(0)

    def _reap_orphans(self) -> None:
        """Orphans become children of the slot, and count as processes until they are reaped."""
        self._reap(os.WNOHANG)
        if self._cpu_seconds:
            used = self.user_seconds + self.system_seconds + _cpu_seconds_of_running_processes()
            self.is_over_cpu_limit = used > self._cpu_seconds

    def _reap(self, options: int) -> None:
        while True:
            try:
                pid, status, usage = os.wait4(-1, options)
            except ChildProcessError:
                return
            if pid == 0:
                return
            self.user_seconds += usage.ru_utime
            self.system_seconds += usage.ru_stime
            self.max_rss_kib = max(self.max_rss_kib, usage.ru_maxrss)
            if pid == self.pid:
                self._has_exited = True
                code = os.waitstatus_to_exitcode(status)
                self.exit_code = code if code >= 0 else 128 - code


def _prepare_directories(request: SlotRequest) -> None:
    for directory in request["directories"]:
        try:
            os.makedirs(directory, exist_ok=True)
        except OSError as error:
            problem = f"can't create the directory {directory}: {error.strerror}"
            raise _NotStarted(126, problem) from None
    try:
        os.chdir(request["working_directory"] or ".")
    except OSError as error:
        directory = request["working_directory"]
        problem = f"can't enter the working directory {directory}: {error.strerror}"
        raise _NotStarted(126, problem) from None


def _program(request: SlotRequest) -> tuple[str, list[bytes], dict[bytes, bytes]]:
    """The path of the program, its arguments and its environment. Raises _NotStarted."""
    arguments = [_encode(argument) for argument in request["arguments"]]
    environment = {_encode(name): _encode(value) for name, value in request["environment"].items()}
    program = request["arguments"][0]
    path = program if "/" in program else _find_on_path(program, request["environment"])
    return path, arguments, environment


def _spawn_on_terminal(
    path: str, arguments: list[bytes], environment: dict[bytes, bytes], terminal: int
) -> int:
    """Start it in a session of its own, which the terminal controls."""
    pid = os.fork()
    if pid:
        return pid
    try:
        for number in _ALL_SIGNALS:
            signal.signal(number, signal.SIG_DFL)
        control_terminal(terminal)
        os.execve(_encode(path), arguments, environment)
    except (OSError, ValueError) as error:
        os.write(terminal, f"{path} can't be executed: {error}\r\n".encode())
    finally:
        os._exit(126)


def _spawn(
    path: str,
    arguments: list[bytes],
    environment: dict[bytes, bytes],
    stdout: StdioCapture,
    stderr: StdioCapture,
) -> int:
    file_actions = (
        (os.POSIX_SPAWN_DUP2, stdout.write_end, 1),
        (os.POSIX_SPAWN_DUP2, stderr.write_end, 2),
    )
    attempts = _BUSY_ATTEMPTS
    while True:
        try:
            # Its own process group, not its own session: some builds of Python don't support
            # `setsid` here. The slot leads a session without a terminal, so a group is enough.
            return os.posix_spawn(
                _encode(path),
                arguments,
                environment,
                file_actions=file_actions,
                setpgroup=0,
                setsigmask=(),
                setsigdef=_ALL_SIGNALS,
            )
        except ValueError as error:
            problem = f"can't be used as an argument or a variable: {error}"
            raise _NotStarted(126, problem) from None
        except OSError as error:
            # ETXTBSY: a process has the program open for writing, or forked while it had.
            attempts -= 1
            if error.errno != errno.ETXTBSY or not attempts:
                raise _NotStarted(*_why_not_started(path, error)) from None
            time.sleep(_BUSY_RETRY_SECONDS)


def _find_on_path(name: str, environment: dict[str, str]) -> str:
    """The first executable file of that name on PATH, else the first file of that name."""
    search_path = environment.get("PATH", _DEFAULT_PATH)
    not_executable = ""
    for directory in search_path.split(":"):
        path = f"{directory or '.'}/{name}"
        try:
            is_file = stat.S_ISREG(os.stat(path).st_mode)
        except (OSError, ValueError):
            continue
        if is_file and os.access(path, os.X_OK):
            return path
        not_executable = not_executable or path
    if not not_executable:
        raise _NotStarted(127, f"{name} isn't in any directory of PATH={search_path}")
    return not_executable


def _why_not_started(path: str, error: OSError) -> tuple[int, str]:
    """The exit code that a shell would give, and the reason in words."""
    if error.errno == errno.ENOENT and os.path.exists(path):
        return 127, f"the interpreter that {path} names doesn't exist in the sandbox"
    if error.errno in (errno.ENOENT, errno.ENOTDIR):
        return 127, f"{path} doesn't exist in the sandbox"
    if error.errno == errno.ENOEXEC:
        return 126, f"{path} isn't a program for this machine and has no #! line"
    return 126, f"{path} can't be executed: {error.strerror}"


def _cpu_seconds_of_running_processes() -> float:
    """CPU time of every process in the slot but the slot itself, with children it has reaped."""
    ticks = 0
    for name in os.listdir("/proc"):
        if name.isdigit() and int(name) != 1:
            try:
                with open(f"/proc/{name}/stat", "rb") as file:
                    fields = file.read().rpartition(b")")[2].split()
            except OSError:
                continue
            ticks += sum(int(field) for field in fields[11:15])
    return ticks / _CLOCK_TICKS_PER_SECOND


def _encode(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")
