"""The supervisor of one action: starts it, waits for it, and kills everything it left running.

Each action has its own supervisor, in its own interpreter, so this module imports little. As PID 1
of a pid namespace it can kill all descendants. Elsewhere on Linux it is a subreaper: orphans become
its children. On other systems it can kill the action's process group only.

The server sends a ``SupervisorRequest`` as a line of JSON and receives a ``SupervisorReport``. If
the server hangs up earlier, or dies, the action is killed.
"""

from __future__ import annotations

import json
import os
import resource
import select
import signal
import sys
import time

from reapi_local.execute.sandbox.stdio_capture import StdioCapture
from reapi_local.execute.sandbox.supervised.spawn import set_limits, spawn

TYPE_CHECKING = False  # importing `typing` takes longer than all other work in this process
if TYPE_CHECKING:
    from collections.abc import Callable

    from reapi_local.execute.sandbox.supervised.supervisor_messages import (
        SupervisorReport,
        SupervisorRequest,
    )

_PR_SET_CHILD_SUBREAPER = 36
_READ_BYTES = 1 << 20
_RSS_UNIT_BYTES = 1 if sys.platform == "darwin" else 1024


def main() -> None:
    """``sys.argv[1]`` is the descriptor of the socket to the server."""
    control = int(sys.argv[1])
    request: SupervisorRequest = json.loads(_read_line(control))
    ends = (end for stream in request["streams"] for end in stream)
    for descriptor in (control, *ends, *request["rulesets"], *request["terminals"]):
        os.set_inheritable(descriptor, False)
    _become_reaper()
    # The supervisor writes the action's output to files, so their size limit holds here, too.
    set_limits([limit for limit in request["limits"] if limit[0] == "RLIMIT_FSIZE"])
    report = json.dumps(_supervise(request, control))
    os.write(control, report.encode())


def _read_line(control: int) -> bytes:
    chunks = [b""]
    while not chunks[-1].endswith(b"\n"):
        chunk = os.read(control, _READ_BYTES)
        if not chunk:
            sys.exit("the server has hung up")
        chunks.append(chunk)
    return b"".join(chunks)


def _become_reaper() -> None:
    """Make sure that orphans become children of this process, and protect it from the action."""
    # With Python's own SIGINT handler an action could interrupt its PID 1. Without a handler the
    # kernel drops all signals from inside the pid namespace to its PID 1.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    if os.getpid() == 1:
        from reapi_local.execute.sandbox.linux.syscalls import set_dumpable

        set_dumpable(False)
    elif sys.platform == "linux":
        import ctypes

        ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def _supervise(request: SupervisorRequest, control: int) -> SupervisorReport:
    child_signals = _open_child_signals()
    started_ns = time.time_ns()
    action, start_failure = spawn(request)
    captures = [StdioCapture(*stream) for stream in request["streams"]]
    for capture in captures:
        capture.close_write_end()
    wait_status, stopped = _wait(action, captures, control, child_signals)
    ended_ns = time.time_ns()
    _kill_and_reap_all(action)
    for capture in captures:
        capture.finish()
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return {
        "wait_status": wait_status,
        "start_failure": start_failure,
        "stopped": stopped,
        "write_errors": [capture.write_error for capture in captures if capture.write_error],
        "started_ns": started_ns,
        "ended_ns": ended_ns,
        "user_seconds": usage.ru_utime,
        "system_seconds": usage.ru_stime,
        "max_rss_bytes": usage.ru_maxrss * _RSS_UNIT_BYTES,
    }


def _open_child_signals() -> int:
    """A descriptor that becomes readable when a child may have exited."""
    read_end, write_end = os.pipe()
    os.set_blocking(write_end, False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.set_wakeup_fd(write_end, warn_on_full_buffer=False)
    return read_end


def _wait(
    action: int, captures: list[StdioCapture], control: int, child_signals: int
) -> tuple[int, bool]:
    """The action's wait status, and whether it was killed because the server hung up."""
    stopped = False
    readable = {capture.read_end: capture for capture in captures}
    poll = select.poll()  # not select(): it can't take the high descriptors of a busy server
    for descriptor in (control, child_signals, *readable):
        poll.register(descriptor, select.POLLIN)
    while True:
        for descriptor, _ in poll.poll():
            if descriptor == child_signals:
                os.read(child_signals, 4096)
                if (wait_status := _reap(action)) is not None:
                    return wait_status, stopped
            elif descriptor == control:  # after the request, only the end of the connection comes
                poll.unregister(control)
                stopped = True
                _kill_all(action)
            elif not readable[descriptor].drain():
                poll.unregister(descriptor)


def _reap(action: int) -> int | None:
    """Reap exited children; return the action's wait status if it was one of them."""
    action_status = None
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return action_status
        if pid == 0:
            return action_status
        if pid == action:
            action_status = status


def _kill_and_reap_all(group: int) -> None:
    """Kill in rounds: orphans are re-parented to this process and die in the next round."""
    while _kill_all(group):
        try:
            os.wait()
        except ChildProcessError:
            return


def _kill_all(group: int) -> bool:
    """Kill what is within reach. Returns whether a killed process has to be reaped."""
    if os.getpid() == 1:
        return _kill(os.kill, -1)
    try:
        with open(f"/proc/self/task/{os.getpid()}/children", encoding="ascii") as children:
            killed = [_kill(os.kill, int(pid)) for pid in children.read().split()]
    except FileNotFoundError:
        return _kill(os.killpg, group)
    return any(killed)


def _kill(kill: Callable[[int, int], None], target: int) -> bool:
    try:
        kill(target, signal.SIGKILL)
    except (ProcessLookupError, PermissionError):  # gone, or it has changed to another user
        return False
    return True
