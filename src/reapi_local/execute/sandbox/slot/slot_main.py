"""A slot: a small process that runs one action after the other, each as if on a fresh machine.

It's the first process of a pid namespace and holds the slot's user and network namespaces, so
that an action pays only for its own mounts. When it ends, for whatever reason, the kernel ends
everything in it. Standard library only; the server starts it with ``python -I -S`` and talks to it
as ``wire`` says: settings, then for each action an order, a report and a release.
"""

from __future__ import annotations

import contextlib
import os
import resource
import signal
import socket
import sys
from collections.abc import Iterator
from typing import Any, Final, NoReturn

from reapi_local.execute.sandbox.linux import seccomp, syscalls
from reapi_local.execute.sandbox.linux.syscalls import (
    CLONE_NEWIPC,
    CLONE_NEWNET,
    CLONE_NEWNS,
    CLONE_NEWPID,
    CLONE_NEWUSER,
    CLONE_NEWUTS,
)
from reapi_local.execute.sandbox.slot import new_root
from reapi_local.execute.sandbox.slot import slot_messages as wire
from reapi_local.execute.sandbox.slot.slot_action import run
from reapi_local.execute.sandbox.slot.slot_messages import Settings
from reapi_local.execute.sandbox.slot.workspace import Workspace

_MAX_OPEN_FILES: Final = 1024 * 1024
_SOFT_OPEN_FILES: Final = 4096
_OWN_PROCESSES: Final = 2


class _Failed(Exception):
    """``step`` of getting ready went wrong: ``cause``."""

    def __init__(self, step: str, cause: OSError) -> None:
        super().__init__(f"{step}: {cause}")
        self.step = step
        self.cause = cause


def main() -> NoReturn:
    """``sys.argv[1]`` is the descriptor of the socket to the server."""
    server = socket.socket(fileno=int(sys.argv[1]))
    server.set_inheritable(False)
    try:
        settings, _ = wire.receive(server)
        notes = _enter(settings, server)
        _serve(settings, notes, server)
    except EOFError:
        pass
    except _Failed as failure:
        _send_failure(server, failure.step, failure.cause)
    except OSError as error:
        _send_failure(server, "action", error)
    # Not a plain exit: nothing of this process may outlive it, and nothing waits to be flushed.
    os._exit(0)


def _send_failure(server: socket.socket, step: str, error: OSError) -> None:
    call = f" ({error.filename})" if error.filename else ""
    problem = f"{error.strerror or error}{call}"
    with contextlib.suppress(OSError):
        wire.send(server, {"failed": step, "errno": error.errno or 0, "problem": problem})


def _enter(settings: Settings, server: socket.socket) -> list[str]:
    """Become the first process of a sandbox; returns what this kernel can't do, by name."""
    syscalls.die_with_parent(signal.SIGKILL)
    # Python's handler would let an action interrupt its PID 1, which is deaf to all else.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    os.umask(0o022)
    own = CLONE_NEWPID | CLONE_NEWIPC | CLONE_NEWUTS | (0 if settings["network"] else CLONE_NEWNET)
    if settings["drop"]:
        # Built while still root, who may walk closed homes; then root is given up for good.
        with _step("mount namespace"):
            syscalls.unshare(CLONE_NEWNS)
        with _step("root"):
            new_root.build(settings)
            outside = new_root.outside()
            # Nobody may make a user namespace from below what covers the root.
            new_root.enter("/")
        with _step("action user"):
            _become(settings["user"], settings["group"])
        with _step("user namespace"):
            syscalls.unshare(CLONE_NEWUSER)
            new_root.return_to(outside)
            os.close(outside)
            _map_user(settings, new_root.HOST_PROC)
        own |= CLONE_NEWNS
    else:
        with _step("user namespace"):
            syscalls.unshare(CLONE_NEWUSER | CLONE_NEWNS)
            _map_user(settings, "/proc")
        with _step("root"):
            new_root.build(settings)
    with _step("namespaces"):
        syscalls.unshare(own)
    if first := os.fork():
        server.close()
        # Who waits for the end of this process shall wait for that of all others, too.
        signal.signal(signal.SIGTERM, lambda *_: os.kill(first, signal.SIGKILL))
        os.waitpid(first, 0)
        os._exit(0)
    syscalls.die_with_parent(signal.SIGKILL)
    return _settle(settings)


def _become(user: int, group: int) -> None:
    syscalls.become(user, group)
    # Both are lost with the change, and the map of the user namespace is written through /proc.
    syscalls.set_dumpable(True)
    syscalls.die_with_parent(signal.SIGKILL)


def _map_user(settings: Settings, proc: str) -> None:
    maps = {
        "setgroups": "deny",
        "uid_map": f"{settings['inner_user']} {settings['user']} 1",
        "gid_map": f"{settings['inner_group']} {settings['group']} 1",
    }
    for name, text in maps.items():
        with open(f"{proc}/self/{name}", "w", encoding="utf-8") as file:
            file.write(text)


def _settle(settings: Settings) -> list[str]:
    notes = []
    os.setsid()
    socket.sethostname("localhost")
    if not settings["network"]:
        with _step("loopback"):
            syscalls.loopback_up()
    with _step("proc"):
        new_root.mount_proc()
    with _step("namespaces of actions"):
        new_root.forbid_user_namespaces()
    syscalls.no_new_privileges()
    try:
        syscalls.forsake_abstract_sockets()
    except OSError:
        notes.append("abstract sockets")
    with contextlib.suppress(OSError):  # a kernel without keyrings, or one that refuses already
        syscalls.leave_session_keyring()
    _limit(settings)
    return notes


def _limit(settings: Settings) -> None:
    # Not 0, which doesn't keep a host's handler of core dumps from being started: core(5).
    resource.setrlimit(resource.RLIMIT_CORE, (1, 1))
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = min(most, _MAX_OPEN_FILES) if most >= 0 else _MAX_OPEN_FILES
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(_SOFT_OPEN_FILES, most), most))
    processes = settings["processes"] and settings["processes"] + _OWN_PROCESSES
    for limit, wanted in (
        (resource.RLIMIT_NPROC, processes),
        (resource.RLIMIT_FSIZE, settings["file_bytes"]),
    ):
        _, most = resource.getrlimit(limit)
        if wanted:
            wanted = min(wanted, most) if most >= 0 else wanted
            resource.setrlimit(limit, (wanted, wanted))


def _serve(settings: Settings, notes: list[str], server: socket.socket) -> NoReturn:
    """One action after the other, until the server is gone."""
    with _step("workspace"):
        workspace = Workspace(settings["scratch"], own_network=not settings["network"])
    if not workspace.can_replace_directories():
        notes.append("removed directories")
    if program := seccomp.deny_list():
        with _step("system call filter"):
            syscalls.install_filter(program)
    syscalls.set_dumpable(False)
    # Nothing is loaded any more: among what actions see, it might be theirs.
    sys.path.clear()
    wire.send(server, {"ready": True, "notes": notes})
    while True:
        order = _next("arguments", server)
        finished = run(order, workspace, server, settings["cpu_seconds"])
        wire.send(server, finished.report, finished.descriptors)
        for descriptor in finished.descriptors:
            os.close(descriptor)
        _next("release", server)
        workspace.renew()


def _next(kind: str, server: socket.socket) -> Any:
    """The next message of that kind: a stop may have crossed the report."""
    while True:
        message, _ = wire.receive(server)
        if kind in message:
            return message


@contextlib.contextmanager
def _step(name: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise _Failed(name, error) from error
