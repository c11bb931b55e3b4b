"""Inside a slot: the mounts, files and namespaces of one action. No other action sees them."""

from __future__ import annotations

import contextlib
import errno
import os
import re
import socket
from collections.abc import Iterator
from typing import Final

from reapi_local.execute.sandbox.action_paths import CACHES, HOME, INPUT_ROOT
from reapi_local.execute.sandbox.linux import syscalls
from reapi_local.execute.sandbox.linux.syscalls import (
    CLONE_NEWIPC,
    CLONE_NEWNET,
    CLONE_NEWNS,
    NODEV,
    NOSUID,
)
from reapi_local.execute.sandbox.slot import root_filesystem
from reapi_local.execute.sandbox.slot.root_filesystem import (
    ALL_CACHES,
    LAYERS,
    SCRATCH,
    TEMPORARY,
    VIEW,
    is_temporary,
)
from reapi_local.execute.sandbox.stdio_capture import StdioCapture

RESERVED_STDIO_BYTES: Final = 64 * 1024
"""Reserved for each of stdout and stderr, so that an action that filled the disk can say so."""

_UPPER: Final = SCRATCH + "/upper"
_WORK: Final = SCRATCH + "/work"
_WRITABLE_DIRECTORIES: Final = {
    HOME: ("home", 0o755),
    "/tmp": ("tmp", 0o1777),
    "/var/tmp": ("var-tmp", 0o1777),
    "/dev/shm": ("shm", 0o1777),
}
_PAGE_BYTES: Final = 4096
_ACTION_OOM_SCORE: Final = 500


class Workspace:
    """The mounts, files and namespaces of the next action.

    It is prepared while the slot is idle, because that takes most of the time, and renewed after
    each action.
    """

    def __init__(
        self, scratch_options: str, own_network: bool, steps: list[tuple[str, str, str]]
    ) -> None:
        self._scratch_options = scratch_options
        self._temporary = [step for step in steps if is_temporary(step[1])]
        self._own_network = own_network
        slot_root = root_filesystem.open_slot_root()
        root_filesystem.enter_view("/")
        self._writable = {
            VIEW + target: directory
            for target, directory in _WRITABLE_DIRECTORIES.items()
            if os.path.realpath(target) == target and os.path.isdir(target)
        }
        root_filesystem.leave_view(slot_root)
        self._slot_root = _ParkedDescriptor(slot_root)
        # Opened now: /proc/self is closed to this process once it is no longer dumpable.
        self._mount_namespace = os.open(f"{VIEW}/proc/self/ns/mnt", os.O_RDONLY | os.O_CLOEXEC)
        self._oom_score = os.open(f"{VIEW}/proc/self/oom_score_adj", os.O_RDWR | os.O_CLOEXEC)
        self._initial_oom_score = int(os.pread(self._oom_score, 16, 0))
        self._autogroup = _open_autogroup()
        self._initial_autogroup = self._read_autogroup()
        self._prepare(new_network=False)

    def enter(self, layers: list[str], caches: str | None) -> int:
        """Mount the input root and the caches, enter the action's view and its input root.

        Returns a descriptor of the input root.
        """
        target = VIEW + INPUT_ROOT
        if layers:
            _mount_overlay(layers, target)
        else:
            syscalls.bind(_UPPER, target)
        if caches is not None:
            syscalls.bind(os.path.join(ALL_CACHES, caches), VIEW + CACHES)
        root_filesystem.enter_view(INPUT_ROOT)
        return os.open(".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)

    @contextlib.contextmanager
    def raised_oom_score(self) -> Iterator[None]:
        """Raise oom_score_adj so the OOM killer picks the action, not the slot or the server.

        A process that is started within the block inherits the score.
        """
        self._set_oom_score(max(_ACTION_OOM_SCORE, self._initial_oom_score))
        try:
            yield
        finally:
            self._set_oom_score(self._initial_oom_score)

    def is_dirty(self) -> bool:
        """Whether an action changed slot state that can't be reset; the slot is then discarded.

        That is the autogroup's nice value, which all processes of the slot's session share: it
        would change how much CPU time later actions get, sched(7).
        """
        return self._read_autogroup() != self._initial_autogroup

    def can_replace_directories(self) -> bool:
        """Whether actions can remove a directory of their inputs and create it again.

        The overlay marks such a directory with an extended attribute on the tmpfs: Linux 6.6.
        """
        try:
            os.setxattr(_UPPER, "user.overlay.probe", b"y")
            os.removexattr(_UPPER, "user.overlay.probe")
        except OSError:
            return False
        return True

    def limits_exceeded(self) -> list[str]:
        """Names of fields of ``ActionLimits``."""
        exceeded = []
        space = os.fstatvfs(self.stdout.file)
        write_errors = {self.stdout.write_error, self.stderr.write_error} - {0}
        if write_errors - {errno.EFBIG} or (space.f_blocks and not space.f_bfree):
            exceeded.append("scratch_bytes")
        if space.f_files and not space.f_ffree:
            exceeded.append("scratch_inodes")
        if errno.EFBIG in write_errors:
            exceeded.append("file_bytes")
        return exceeded

    def has_lost_output(self) -> bool:
        """Whether standard output or error could not be saved completely."""
        return bool(self.stdout.write_error or self.stderr.write_error)

    def renew(self) -> None:
        """Discard everything the action had, and prepare for the next one.

        The caller has closed all descriptors of the action.

        Raises:
            OSError: the sandbox failed.
        """
        new_network = self._own_network and self._has_open_connections()
        syscalls.setns(self._mount_namespace, CLONE_NEWNS)
        with self._slot_root.borrowed() as slot_root:
            root_filesystem.leave_view(slot_root)
        self._prepare(new_network)

    def _prepare(self, new_network: bool) -> None:
        syscalls.unshare(CLONE_NEWNS | CLONE_NEWIPC | (CLONE_NEWNET if new_network else 0))
        if new_network:
            syscalls.bring_up_loopback()
        syscalls.mount("tmpfs", SCRATCH, "tmpfs", NOSUID | NODEV, self._scratch_options)
        os.mkdir(_UPPER)
        os.mkdir(_WORK)
        for target, (name, mode) in self._writable.items():
            source = f"{SCRATCH}/{name}"
            os.mkdir(source)
            os.chmod(source, mode)
            syscalls.bind(source, target)
        for kind, path, detail in self._temporary:
            _show_temporary(kind, path, detail)
        self.stdout = _new_capture(SCRATCH + "/stdout")
        self.stderr = _new_capture(SCRATCH + "/stderr")

    def _has_open_connections(self) -> bool:
        """Sockets in TIME_WAIT outlive their processes and occupy their ports."""
        path = f"{VIEW}/proc/self/net/sockstat"
        with open(path, encoding="utf-8") as file:
            counts = re.search(r"^TCP:.* orphan (\d+) tw (\d+)", file.read(), re.MULTILINE)
        return counts is None or counts.groups() != ("0", "0")

    def _read_autogroup(self) -> bytes:
        return b"" if self._autogroup < 0 else os.pread(self._autogroup, 128, 0)

    def _set_oom_score(self, score: int) -> None:
        os.pwrite(self._oom_score, str(score).encode(), 0)


def _show_temporary(kind: str, path: str, detail: str) -> None:
    """Show what the host has at a path in one of the action's directories for temporary files.

    What is hidden in it has been hidden when the slot was built.
    """
    source, target = TEMPORARY + path, VIEW + path
    if kind == "parent":
        os.makedirs(target, exist_ok=True)
    elif kind == "symlink":
        os.makedirs(os.path.dirname(target), exist_ok=True)
        os.symlink(detail, target)
    elif kind == "bind":
        is_directory = os.path.isdir(source)
        os.makedirs(target if is_directory else os.path.dirname(target), exist_ok=True)
        if not is_directory:
            os.close(os.open(target, os.O_CREAT | os.O_WRONLY | os.O_CLOEXEC, 0o644))
        syscalls.bind(source, target)


class _ParkedDescriptor:
    """Keeps a descriptor out of /proc/self/fd: in transit in a unix socket. Takes ownership.

    The slot itself resolves paths of actions, and such a path may lead through /proc/self/fd to
    any directory that the slot has open.
    """

    def __init__(self, descriptor: int) -> None:
        self._in, self._out = socket.socketpair()
        self._park(descriptor)

    @contextlib.contextmanager
    def borrowed(self) -> Iterator[int]:
        """Yield the descriptor; park it again on exit."""
        _, (descriptor,), _, _ = socket.recv_fds(self._out, 1, 1)
        try:
            yield descriptor
        finally:
            self._park(descriptor)

    def _park(self, descriptor: int) -> None:
        socket.send_fds(self._in, [b"0"], [descriptor])
        os.close(descriptor)


def _open_autogroup() -> int:
    """The file with the nice value of this session's autogroup; -1 if the kernel has none."""
    try:
        return os.open(f"{VIEW}/proc/self/autogroup", os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return -1


def _new_capture(path: str) -> StdioCapture:
    file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    syscalls.preallocate(file, RESERVED_STDIO_BYTES)
    return StdioCapture(*os.pipe(), file)


def _mount_overlay(layers: list[str], target: str) -> None:
    """Mount the layers with a writable upper layer.

    ``userxattr``, because trusted.* attributes need CAP_SYS_ADMIN in the host's user namespace.
    """
    options = {"userxattr": "", "upperdir": _UPPER, "workdir": _WORK}
    os.chdir(LAYERS)
    lower = ":".join(re.sub(r"([\\:,])", r"\\\1", layer) for layer in layers)
    data = f"userxattr,upperdir={_UPPER},workdir={_WORK},lowerdir={lower}"
    if len(data) < _PAGE_BYTES:
        syscalls.mount("overlay", target, "overlay", NOSUID | NODEV, data)
    else:
        syscalls.mount_overlay_by_fsconfig(layers, target, options)
