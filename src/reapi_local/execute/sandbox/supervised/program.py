"""From a supervisor to the action's program: a child that prepares itself and becomes it."""

from __future__ import annotations

import errno
import os
import resource
import signal
import time
from contextlib import suppress

TYPE_CHECKING = False  # `typing` takes longer to import than all of this takes to run
if TYPE_CHECKING:
    from typing import NoReturn

    from reapi_local.execute.sandbox.supervised.supervision import Order

_BUSY_ATTEMPTS = 20
_BUSY_SECONDS = 0.01


def start(order: Order) -> tuple[int, tuple[str, int] | None]:
    """Its pid, and why the program could not be started: at which step, and errno."""
    failed, failing = os.pipe()
    pid = os.fork()
    if pid == 0:
        _become(order, failing)
    os.close(failing)
    with open(failed, "rb") as pipe:  # at its end when the program runs: execve closes the other
        message = pipe.read()
    if not message:
        return pid, None
    step, number = message.decode().split()
    return pid, (step, int(number))


def _become(order: Order, failing: int) -> NoReturn:
    step = "prepare"
    try:
        _reset(order)
        limit(order["limits"])
        _contain(order)
        step = "directories"
        for path in order["directories"]:
            os.makedirs(path, exist_ok=True)
        step = "chdir"
        os.chdir(order["working_directory"])
        step = "exec"
        _execute(order["arguments"], order["environment"])
    except OSError as error:
        os.write(failing, f"{step} {error.errno}".encode())
    except ValueError:  # a NUL in an argument, or the like
        os.write(failing, f"{step} {errno.EINVAL}".encode())
    finally:
        os._exit(1)


def _reset(order: Order) -> None:
    """A session, signals and streams of its own."""
    for number in set(signal.Signals) - {signal.SIGKILL, signal.SIGSTOP}:
        signal.signal(number, signal.SIG_DFL)
    os.setsid()
    os.umask(0o022)
    for descriptor, (_, write_end, _) in enumerate(order["streams"], start=1):
        os.dup2(write_end, descriptor)


def limit(limits: list[tuple[str, int, int]]) -> None:
    """Set limits of this process, as far as they aren't lower."""
    for name, soft, hard in limits:
        kind = getattr(resource, name)
        highest = resource.getrlimit(kind)[1]
        if highest != resource.RLIM_INFINITY:
            soft, hard = min(soft, highest), min(hard, highest)
        resource.setrlimit(kind, (soft, hard))


def _contain(order: Order) -> None:
    if order["contained"]:
        from reapi_local.execute.sandbox.linux.seccomp import deny_list
        from reapi_local.execute.sandbox.linux.syscalls import (
            forsake_abstract_sockets,
            install_filter,
        )

        with suppress(OSError):  # a kernel that can't
            forsake_abstract_sockets()
        if program := deny_list():
            install_filter(program)
    if (user := order["user"]) is not None:
        os.setgroups([])
        os.setresgid(user, user, user)
        os.setresuid(user, user, user)


def _execute(arguments: list[str], environment: dict[str, str]) -> NoReturn:
    for attempt in range(_BUSY_ATTEMPTS):
        try:
            os.execvpe(arguments[0], arguments, environment)
        except OSError as error:
            # A file just written may for a moment be open in a process that is about to start.
            if error.errno != errno.ETXTBSY or attempt == _BUSY_ATTEMPTS - 1:
                raise
        time.sleep(_BUSY_SECONDS)
    raise AssertionError("the last attempt returns or raises")
