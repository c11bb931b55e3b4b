"""The process over one action: it starts the action, waits, and leaves nothing of it running.

One for every action, in an interpreter of its own, so it imports little. As PID 1 of a pid
namespace it reaches whatever the action has started. Elsewhere on Linux it is the subreaper, to
whom orphans come; on other systems it reaches the action's process group and no more.

The server sends an ``Order`` as a line of JSON, and gets a ``Report``. If it hangs up before, or
dies, the action is killed.
"""

from __future__ import annotations

import json
import os
import resource
import select
import signal
import sys
import time

from reapi_local.execute.sandbox.supervised.captured import Captured
from reapi_local.execute.sandbox.supervised.program import limit, start

TYPE_CHECKING = False  # `typing` takes longer to import than all of this takes to run
if TYPE_CHECKING:
    from collections.abc import Callable

    from reapi_local.execute.sandbox.supervised.supervision import Order, Report

_PR_SET_CHILD_SUBREAPER = 36
_ORDER_BYTES = 1 << 20
_RSS_UNIT = 1 if sys.platform == "darwin" else 1024


def main() -> None:
    """The one argument is the number of the socket to the server."""
    control = int(sys.argv[1])
    order: Order = json.loads(_line(control))
    for descriptor in (control, *(end for stream in order["streams"] for end in stream)):
        os.set_inheritable(descriptor, False)
    _take_charge()
    limit([each for each in order["limits"] if each[0] == "RLIMIT_FSIZE"])  # for what it captures
    report = json.dumps(_supervise(order, control))
    os.write(control, report.encode())


def _line(control: int) -> bytes:
    chunks = [b""]
    while not chunks[-1].endswith(b"\n"):
        chunk = os.read(control, _ORDER_BYTES)
        if not chunk:
            sys.exit("the server has hung up")
        chunks.append(chunk)
    return b"".join(chunks)


def _take_charge() -> None:
    """Get the orphans, and be out of reach for an action of the same user as PID 1."""
    # Python's own handler would let an action interrupt its PID 1, which is deaf to all else.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    if os.getpid() == 1:
        from reapi_local.execute.sandbox.linux.syscalls import set_dumpable

        set_dumpable(False)
    elif sys.platform == "linux":
        import ctypes

        ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def _supervise(order: Order, control: int) -> Report:
    wakened = _wakened_by_children()
    started_ns = time.time_ns()
    action, failure = start(order)
    streams = [Captured(*stream) for stream in order["streams"]]
    status, stopped = _wait(action, streams, control, wakened)
    ended_ns = time.time_ns()
    _end_all(action)
    for stream in streams:
        stream.finish()
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return {
        "status": status,
        "failure": failure,
        "stopped": stopped,
        "refused": [stream.refused for stream in streams if stream.refused],
        "started_ns": started_ns,
        "ended_ns": ended_ns,
        "user_seconds": usage.ru_utime,
        "system_seconds": usage.ru_stime,
        "max_rss_bytes": usage.ru_maxrss * _RSS_UNIT,
    }


def _wakened_by_children() -> int:
    """A descriptor that can be read when a child may have ended."""
    wakened, waking = os.pipe()
    os.set_blocking(waking, False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.set_wakeup_fd(waking, warn_on_full_buffer=False)
    return wakened


def _wait(action: int, streams: list[Captured], control: int, wakened: int) -> tuple[int, bool]:
    """The action's wait status, and whether the server asked for its end."""
    stopped = False
    by_descriptor = {stream.read_end: stream for stream in streams}
    poll = select.poll()  # not select(): a descriptor of a busy server may be beyond what it takes
    for descriptor in (control, wakened, *by_descriptor):
        poll.register(descriptor, select.POLLIN)
    while True:
        for descriptor, _ in poll.poll():
            if descriptor == wakened:
                os.read(wakened, 4096)
                if (status := _reap(action)) is not None:
                    return status, stopped
            elif descriptor == control:  # nothing comes after the order but its end
                poll.unregister(control)
                stopped = True
                _kill_all(action)
            elif not by_descriptor[descriptor].move():
                poll.unregister(descriptor)


def _reap(action: int) -> int | None:
    """Bury the dead; the action's wait status, if it is among them."""
    found = None
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return found
        if pid == 0:
            return found
        if pid == action:
            found = status


def _end_all(group: int) -> None:
    """A round a generation: who loses its parent becomes a child of this process."""
    while _kill_all(group):
        try:
            os.wait()
        except ChildProcessError:
            return


def _kill_all(group: int) -> bool:
    """Whether something was killed that has yet to be waited for."""
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
    except (ProcessLookupError, PermissionError):  # the latter: it has become another user's
        return False
    return True
