"""Forks the child of a supervisor that sets itself up and executes the action's program."""

from __future__ import annotations

import errno
import os
import resource
import signal
import time
from contextlib import suppress

TYPE_CHECKING = False  # importing `typing` takes longer than all other work in this process
if TYPE_CHECKING:
    from typing import NoReturn

    from reapi_local.execute.sandbox.supervised.supervisor_messages import SupervisorRequest

_BUSY_ATTEMPTS = 20
_BUSY_RETRY_SECONDS = 0.01


def spawn(request: SupervisorRequest) -> tuple[int, tuple[str, int] | None]:
    """The child's pid; and the failed step and its errno if the program could not be started."""
    read_end, write_end = os.pipe()
    pid = os.fork()
    if pid == 0:
        _execute_in_child(request, write_end)
    os.close(write_end)
    with open(read_end, "rb") as pipe:  # ends when the program starts: execve closes the write end
        message = pipe.read()
    if not message:
        return pid, None
    step, number = message.decode().split()
    return pid, (step, int(number))


def _execute_in_child(request: SupervisorRequest, failure_pipe: int) -> NoReturn:
    step = "prepare"
    try:
        _reset_process(request)
        set_limits(request["limits"])
        _restrict(request)
        step = "directories"
        for path in request["directories"]:
            os.makedirs(path, exist_ok=True)
        step = "chdir"
        os.chdir(request["working_directory"])
        step = "exec"
        _execute(request["arguments"], request["environment"])
    except OSError as error:
        os.write(failure_pipe, f"{step} {error.errno}".encode())
    except ValueError:  # for instance a NUL in an argument
        os.write(failure_pipe, f"{step} {errno.EINVAL}".encode())
    finally:
        os._exit(1)


def _reset_process(request: SupervisorRequest) -> None:
    """Default signal handlers, a new session, and the pipes or the terminal as standard output."""
    for number in set(signal.Signals) - {signal.SIGKILL, signal.SIGSTOP}:
        signal.signal(number, signal.SIG_DFL)
    os.setsid()
    os.umask(0o022)
    for descriptor, (_, write_end, _) in enumerate(request["streams"], start=1):
        os.dup2(write_end, descriptor)
    if request["terminals"]:
        from reapi_local.execute.sandbox.control_terminal import control_terminal

        control_terminal(request["terminals"][0])


def set_limits(limits: list[tuple[str, int, int]]) -> None:
    """Set resource limits of this process, at most to the hard limits it has."""
    for name, soft, hard in limits:
        kind = getattr(resource, name)
        highest = resource.getrlimit(kind)[1]
        if highest != resource.RLIM_INFINITY:
            soft, hard = min(soft, highest), min(hard, highest)
        resource.setrlimit(kind, (soft, hard))


def _restrict(request: SupervisorRequest) -> None:
    if request["restricted"]:
        from reapi_local.execute.sandbox.linux.landlock import block_abstract_sockets, restrict_self
        from reapi_local.execute.sandbox.linux.seccomp import deny_list
        from reapi_local.execute.sandbox.linux.syscalls import install_seccomp_filter

        with suppress(OSError):  # a kernel without that Landlock scope
            block_abstract_sockets()
        for ruleset in request["rulesets"]:
            restrict_self(ruleset)
        if program := deny_list():
            install_seccomp_filter(program)
    if (uid := request["uid"]) is not None:
        os.setgroups([])
        os.setresgid(uid, uid, uid)
        os.setresuid(uid, uid, uid)


def _execute(arguments: list[str], environment: dict[str, str]) -> NoReturn:
    for attempt in range(_BUSY_ATTEMPTS):
        try:
            os.execvpe(arguments[0], arguments, environment)
        except OSError as error:
            # ETXTBSY: a process that was forked while the file was being written still has it open.
            if error.errno != errno.ETXTBSY or attempt == _BUSY_ATTEMPTS - 1:
                raise
        time.sleep(_BUSY_RETRY_SECONDS)
    raise AssertionError("the last attempt returns or raises")
