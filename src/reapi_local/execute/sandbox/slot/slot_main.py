"""The program of a slot: it runs one action after the other, each in a fresh environment.

A slot is PID 1 of a pid namespace and keeps the user and network namespaces, so each action costs
only its own mounts. When the slot exits, the kernel kills all processes in it. The server starts
it with ``python -I -S``, so it uses the standard library only, and talks to it in the messages of
``slot_messages``: first the settings; then for each action a request, a report and a release.
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

from reapi_local.execute.sandbox.linux import landlock, seccomp, syscalls
from reapi_local.execute.sandbox.linux.syscalls import (
    CLONE_NEWIPC,
    CLONE_NEWNET,
    CLONE_NEWNS,
    CLONE_NEWPID,
    CLONE_NEWUSER,
    CLONE_NEWUTS,
)
from reapi_local.execute.sandbox.slot import root_filesystem
from reapi_local.execute.sandbox.slot.slot_action import run_action
from reapi_local.execute.sandbox.slot.slot_messages import (
    SlotSettings,
    receive_message,
    send_message,
)
from reapi_local.execute.sandbox.slot.workspace import Workspace

_HARD_OPEN_FILES: Final = 1024 * 1024
_SOFT_OPEN_FILES: Final = 4096
_SLOT_PROCESSES: Final = 2


class _StepFailed(Exception):
    """A step of setting up the slot failed."""

    def __init__(self, step: str, cause: OSError) -> None:
        super().__init__(f"{step}: {cause}")
        self.step = step
        self.cause = cause


def main() -> NoReturn:
    """``sys.argv[1]`` is the descriptor of the socket to the server."""
    server = socket.socket(fileno=int(sys.argv[1]))
    server.set_inheritable(False)
    try:
        settings, rulesets = receive_message(server)
        _enter_namespaces(settings, server)
        notes = _set_up_first_process(settings, rulesets)
        _serve(settings, notes, server)
    except EOFError:
        pass
    except _StepFailed as failure:
        _send_failure(server, failure.step, failure.cause)
    except OSError as error:
        _send_failure(server, "action", error)
    # sys.exit() would run exit handlers; there is nothing to flush or to clean up.
    os._exit(0)


def _send_failure(server: socket.socket, step: str, error: OSError) -> None:
    call = f" ({error.filename})" if error.filename else ""
    problem = f"{error.strerror or error}{call}"
    with contextlib.suppress(OSError):
        send_message(server, {"failed": step, "errno": error.errno or 0, "problem": problem})


def _enter_namespaces(settings: SlotSettings, server: socket.socket) -> None:
    """Become PID 1 of new namespaces."""
    syscalls.set_parent_death_signal(signal.SIGKILL)
    # With Python's own SIGINT handler an action could interrupt the slot. Without a handler the
    # kernel drops all signals from inside the pid namespace to its PID 1.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    os.umask(0o022)
    own = CLONE_NEWPID | CLONE_NEWIPC | CLONE_NEWUTS | (0 if settings["network"] else CLONE_NEWNET)
    if settings["drop_root"]:
        # Only root can look up paths below closed homes: mount first, then give up root for good.
        with _step("mount namespace"):
            syscalls.unshare(CLONE_NEWNS)
        with _step("root"):
            root_filesystem.build(settings)
            slot_root = root_filesystem.open_slot_root()
            # The kernel makes no user namespace for a process whose root isn't the topmost mount.
            root_filesystem.enter_view("/")
        with _step("action user"):
            _drop_to_user(settings["uid"], settings["gid"])
        with _step("user namespace"):
            syscalls.unshare(CLONE_NEWUSER)
            root_filesystem.leave_view(slot_root)
            os.close(slot_root)
            _map_ids(settings, root_filesystem.HOST_PROC)
        own |= CLONE_NEWNS
    else:
        with _step("user namespace"):
            syscalls.unshare(CLONE_NEWUSER | CLONE_NEWNS)
            _map_ids(settings, "/proc")
        with _step("root"):
            root_filesystem.build(settings)
    with _step("namespaces"):
        syscalls.unshare(own)
    if first := os.fork():
        server.close()
        # Reaping this process must imply that every descendant has exited.
        signal.signal(signal.SIGTERM, lambda *_: os.kill(first, signal.SIGKILL))
        os.waitpid(first, 0)
        os._exit(0)
    syscalls.set_parent_death_signal(signal.SIGKILL)


def _drop_to_user(uid: int, gid: int) -> None:
    syscalls.drop_to_user(uid, gid)
    # The kernel resets both when the uid changes. /proc/self/uid_map needs a dumpable process.
    syscalls.set_dumpable(True)
    syscalls.set_parent_death_signal(signal.SIGKILL)


def _map_ids(settings: SlotSettings, proc: str) -> None:
    maps = {
        "setgroups": "deny",
        "uid_map": f"{settings['inner_uid']} {settings['uid']} 1",
        "gid_map": f"{settings['inner_gid']} {settings['gid']} 1",
    }
    for name, text in maps.items():
        with open(f"{proc}/self/{name}", "w", encoding="utf-8") as file:
            file.write(text)


def _set_up_first_process(settings: SlotSettings, rulesets: list[int]) -> list[str]:
    """Set up what needs PID 1 of the new pid namespace. Returns names of missing features."""
    notes = []
    os.setsid()
    socket.sethostname("localhost")
    if not settings["network"]:
        with _step("loopback"):
            syscalls.bring_up_loopback()
    with _step("proc"):
        root_filesystem.mount_proc()
    with _step("namespaces of actions"):
        root_filesystem.forbid_user_namespaces()
    syscalls.set_no_new_privileges()
    try:
        landlock.block_abstract_sockets()
    except OSError:
        notes.append("abstract sockets")
    for ruleset in rulesets:
        with _step("closed ports"):
            landlock.restrict_self(ruleset)
        os.close(ruleset)
    with contextlib.suppress(OSError):  # a kernel without keyrings, or one that forbids them
        syscalls.join_new_session_keyring()
    _set_resource_limits(settings)
    return notes


def _set_resource_limits(settings: SlotSettings) -> None:
    # Not 0: with 0 the kernel still starts the host's core dump handler, core(5).
    resource.setrlimit(resource.RLIMIT_CORE, (1, 1))
    hard = _at_most_hard_limit(resource.RLIMIT_NOFILE, _HARD_OPEN_FILES)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(_SOFT_OPEN_FILES, hard), hard))
    processes = settings["processes"] and settings["processes"] + _SLOT_PROCESSES
    for limit, wanted in (
        (resource.RLIMIT_NPROC, processes),
        (resource.RLIMIT_FSIZE, settings["file_bytes"]),
    ):
        if wanted:
            value = _at_most_hard_limit(limit, wanted)
            resource.setrlimit(limit, (value, value))


def _at_most_hard_limit(limit: int, wanted: int) -> int:
    _, hard = resource.getrlimit(limit)
    return wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)


def _serve(settings: SlotSettings, notes: list[str], server: socket.socket) -> NoReturn:
    """Run one action after the other, until the server closes the connection."""
    with _step("workspace"):
        workspace = Workspace(
            settings["scratch_options"],
            own_network=not settings["network"],
            steps=settings["steps"],
        )
    if not workspace.can_replace_directories():
        notes.append("removed directories")
    if program := seccomp.deny_list():
        with _step("system call filter"):
            syscalls.install_seccomp_filter(program)
    syscalls.set_dumpable(False)
    # No imports from now on: in the view of actions these paths could lead to an action's files.
    sys.path.clear()
    send_message(server, {"ready": True, "notes": notes})
    while True:
        request, terminals = _receive_with_key("arguments", server)
        finished = run_action(request, workspace, server, settings["cpu_seconds"], terminals)
        send_message(server, finished.report, finished.descriptors)
        for descriptor in (*finished.descriptors, *terminals):
            os.close(descriptor)
        release, _ = _receive_with_key("release", server)
        workspace.renew()
        if release["answer"]:
            send_message(server, {"renewed": True})


def _receive_with_key(key: str, server: socket.socket) -> tuple[Any, list[int]]:
    """The next message that has ``key``, and the descriptors that came with it.

    Others are late stops, sent before our report arrived.
    """
    while True:
        message, descriptors = receive_message(server)
        if key in message:
            return message, descriptors


@contextlib.contextmanager
def _step(name: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise _StepFailed(name, error) from error
