"""Inside a slot: one action's process, from its start until nothing of it runs any more."""

from __future__ import annotations

import contextlib
import errno
import os
import select
import signal
import socket
import stat
import time
from collections.abc import Iterable
from typing import Final, NamedTuple

from reapi_local.execute.sandbox.slot import slot_messages as wire
from reapi_local.execute.sandbox.slot.output_pipe import OutputPipe
from reapi_local.execute.sandbox.slot.slot_messages import Order, Report
from reapi_local.execute.sandbox.slot.workspace import Workspace

_TICK_MS: Final = 1000
_BUSY_ATTEMPTS: Final = 40
_BUSY_SECONDS: Final = 0.005
_DEFAULT_PATH: Final = "/bin:/usr/bin"
_CLOCK_TICKS: Final = os.sysconf("SC_CLK_TCK")
_ALL_SIGNALS: Final = sorted(signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP})


class Finished(NamedTuple):
    """The report, and the descriptors of the root, standard output and error to send with it."""

    report: Report
    descriptors: tuple[int, int, int]


class _NotStarted(Exception):
    """The action's own fault: ``exit_code`` as a shell would have it."""

    def __init__(self, exit_code: int, problem: str) -> None:
        super().__init__(problem)
        self.exit_code = exit_code
        self.problem = problem


def run(order: Order, workspace: Workspace, server: socket.socket, cpu_seconds: int) -> Finished:
    """Run it to its end, or until the server says stop.

    Raises:
        OSError: the sandbox failed.
        EOFError: the server is gone.
    """
    root = workspace.enter(order["layers"], order["caches"])
    stdout, stderr = workspace.stdout, workspace.stderr
    process = _Process(cpu_seconds)
    try:
        _prepare_directories(order)
        with workspace.preferred_victim():
            process.start(order, stdout, stderr)
    except _NotStarted as failure:
        process.exit_code, process.problem = failure.exit_code, failure.problem
    finally:
        for pipe in (stdout, stderr):
            pipe.close_write_end()
    if process.pid:
        process.wait(server, (stdout, stderr))
        process.end()
    for pipe in (stdout, stderr):
        pipe.finish()
    return Finished(_report(process, workspace), (root, stdout.file, stderr.file))


def _report(process: _Process, workspace: Workspace) -> Report:
    limits_hit = set(workspace.limits_hit())
    if process.cpu_used_up:
        limits_hit.add("cpu_seconds")
    if process.exit_code == 128 + signal.SIGXFSZ:
        limits_hit.add("file_bytes")
    exit_code = process.exit_code
    if exit_code == 0 and workspace.has_lost_output():
        exit_code = 128 + signal.SIGPIPE  # which the process has ignored
    return {
        "exit_code": exit_code,
        "problem": process.problem,
        "stopped": process.stopped,
        "started_ns": process.started_ns,
        "ended_ns": process.ended_ns,
        "user_seconds": process.user_seconds,
        "system_seconds": process.system_seconds,
        "max_rss_bytes": process.max_rss_kib * 1024,
        "limits_hit": sorted(limits_hit),
        "discard": workspace.is_dirty(),
    }


class _Process:
    """The action's process and whatever it started."""

    def __init__(self, cpu_seconds: int) -> None:
        self.pid = 0
        self.exit_code = 0
        self.problem = ""
        self.stopped = self.cpu_used_up = False
        self.started_ns = self.ended_ns = time.time_ns()
        self.user_seconds = self.system_seconds = 0.0
        self.max_rss_kib = 0
        self._cpu_seconds = cpu_seconds
        self._ended = False

    def start(self, order: Order, stdout: OutputPipe, stderr: OutputPipe) -> None:
        """Raises _NotStarted: the action is to blame."""
        self.started_ns = self.ended_ns = time.time_ns()
        self.pid = _start(order, stdout, stderr)

    def wait(self, server: socket.socket, pipes: Iterable[OutputPipe]) -> None:
        """Until it has ended, or has to be ended."""
        ended = os.pidfd_open(self.pid)
        poller = select.poll()
        poller.register(ended, select.POLLIN)
        poller.register(server, select.POLLIN)
        readable = {pipe.read_end: pipe for pipe in pipes}
        for descriptor in readable:
            poller.register(descriptor, select.POLLIN)
        try:
            while not (self._ended or self.stopped or self.cpu_used_up):
                events = [descriptor for descriptor, _ in poller.poll(_TICK_MS)]
                for descriptor in events:
                    if descriptor in readable and not readable[descriptor].move():
                        poller.unregister(descriptor)
                        readable.pop(descriptor).stop_reading()
                if ended in events:
                    return
                if server.fileno() in events:
                    self.stopped = "stop" in wire.receive(server)[0]
                self._tick()
        finally:
            os.close(ended)

    def end(self) -> None:
        """Kill all that is left, daemons too, and wait for each."""
        self.ended_ns = time.time_ns()
        with contextlib.suppress(ProcessLookupError):
            os.kill(-1, signal.SIGKILL)
        self._reap(0)

    def _tick(self) -> None:
        """Orphans come to this process, and count as processes until they are waited for."""
        self._reap(os.WNOHANG)
        if self._cpu_seconds:
            used = self.user_seconds + self.system_seconds + _cpu_seconds_of_living()
            self.cpu_used_up = used > self._cpu_seconds

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
                self._ended = True
                code = os.waitstatus_to_exitcode(status)
                self.exit_code = code if code >= 0 else 128 - code


def _prepare_directories(order: Order) -> None:
    for directory in order["directories"]:
        try:
            os.makedirs(directory, exist_ok=True)
        except OSError as error:
            reason = f"can't create the directory {directory}: {error.strerror}"
            raise _NotStarted(126, reason) from None
    try:
        os.chdir(order["working_directory"] or ".")
    except OSError as error:
        directory = order["working_directory"]
        reason = f"can't enter the working directory {directory}: {error.strerror}"
        raise _NotStarted(126, reason) from None


def _start(order: Order, stdout: OutputPipe, stderr: OutputPipe) -> int:
    arguments = [_encoded(argument) for argument in order["arguments"]]
    environment = {_encoded(name): _encoded(value) for name, value in order["environment"].items()}
    program = order["arguments"][0]
    path = program if "/" in program else _found(program, order["environment"])
    actions = (
        (os.POSIX_SPAWN_DUP2, stdout.write_end, 1),
        (os.POSIX_SPAWN_DUP2, stderr.write_end, 2),
    )
    attempts = _BUSY_ATTEMPTS
    while True:
        try:
            # A group of its own rather than a session: not every build of Python can do the latter
            # here, and this process leads a session without a terminal.
            return os.posix_spawn(
                _encoded(path),
                arguments,
                environment,
                file_actions=actions,
                setpgroup=0,
                setsigmask=(),
                setsigdef=_ALL_SIGNALS,
            )
        except ValueError as error:
            raise _NotStarted(126, f"can't be an argument or a variable: {error}") from None
        except OSError as error:
            # Another process may have the program open for writing, or has forked while it had.
            attempts -= 1
            if error.errno != errno.ETXTBSY or not attempts:
                raise _NotStarted(*_why_not_started(path, error)) from None
            time.sleep(_BUSY_SECONDS)


def _found(name: str, environment: dict[str, str]) -> str:
    """Where the search path has that program; what isn't executable only if nothing else is."""
    search = environment.get("PATH", _DEFAULT_PATH)
    second_best = ""
    for directory in search.split(":"):
        path = f"{directory or '.'}/{name}"
        try:
            is_file = stat.S_ISREG(os.stat(path).st_mode)
        except (OSError, ValueError):
            continue
        if is_file and os.access(path, os.X_OK):
            return path
        second_best = second_best or path
    if not second_best:
        raise _NotStarted(127, f"{name} isn't in any directory of PATH={search}")
    return second_best


def _why_not_started(path: str, error: OSError) -> tuple[int, str]:
    if error.errno == errno.ENOENT and os.path.exists(path):
        return 127, f"the interpreter that {path} names doesn't exist in the sandbox"
    if error.errno in (errno.ENOENT, errno.ENOTDIR):
        return 127, f"{path} doesn't exist in the sandbox"
    if error.errno == errno.ENOEXEC:
        return 126, f"{path} is no program for this machine and has no #! line"
    return 126, f"{path} can't be run: {error.strerror}"


def _cpu_seconds_of_living() -> float:
    """Of every process here but this one, with those of its children that it waited for."""
    ticks = 0
    for name in os.listdir("/proc"):
        if name.isdigit() and int(name) != 1:
            try:
                with open(f"/proc/{name}/stat", "rb") as file:
                    fields = file.read().rpartition(b")")[2].split()
            except OSError:
                continue
            ticks += sum(int(field) for field in fields[11:15])
    return ticks / _CLOCK_TICKS


def _encoded(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")
