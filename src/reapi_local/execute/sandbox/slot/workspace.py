"""Inside a slot: the mounts, files and namespaces that one action gets, and no other sees."""

from __future__ import annotations

import contextlib
import os
import re
import socket
from collections.abc import Iterator
from typing import Final

from reapi_local.execute.sandbox.linux import syscalls
from reapi_local.execute.sandbox.linux.syscalls import (
    CLONE_NEWIPC,
    CLONE_NEWNET,
    CLONE_NEWNS,
    NODEV,
    NOSUID,
)
from reapi_local.execute.sandbox.slot import new_root
from reapi_local.execute.sandbox.slot.new_root import CACHES, LAYERS, SCRATCH, VIEW
from reapi_local.execute.sandbox.slot.output_pipe import OutputPipe

_ROOT: Final = "/reapi/root"
_UPPER: Final = SCRATCH + "/upper"
_WORK: Final = SCRATCH + "/work"
_PLACES: Final = {
    "/reapi/home": ("home", 0o755),
    "/tmp": ("tmp", 0o1777),
    "/var/tmp": ("var-tmp", 0o1777),
    "/dev/shm": ("shm", 0o1777),
}
_PAGE: Final = 4096
_VICTIM: Final = 500


class Workspace:
    """Prepared before its action is known, because that costs most; renewed after it."""

    def __init__(self, scratch_options: str, own_network: bool) -> None:
        self._scratch_options = scratch_options
        self._own_network = own_network
        base = new_root.outside()
        new_root.enter("/")
        self._places = {
            VIEW + target: place
            for target, place in _PLACES.items()
            if os.path.realpath(target) == target and os.path.isdir(target)
        }
        new_root.return_to(base)
        self._base = _Parked(base)
        # Opened while the process may still look into itself through /proc.
        self._namespace = os.open(f"{VIEW}/proc/self/ns/mnt", os.O_RDONLY | os.O_CLOEXEC)
        self._oom_score = os.open(f"{VIEW}/proc/self/oom_score_adj", os.O_RDWR | os.O_CLOEXEC)
        self._usual_oom_score = int(os.pread(self._oom_score, 16, 0))
        self._scheduling = _scheduling_group()
        self._usual_scheduling = self._read_scheduling()
        self._prepare(new_network=False)

    def enter(self, layers: list[str], caches: str | None) -> int:
        """Mount the input root and the caches, see what the action will, and be at its root.

        Returns a descriptor of that.
        """
        target = VIEW + _ROOT
        if layers:
            _mount_overlay(layers, target)
        else:
            syscalls.bind(_UPPER, target)
        if caches is not None:
            syscalls.bind(os.path.join(CACHES, caches), VIEW + "/reapi/caches")
        new_root.enter(_ROOT)
        return os.open(".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)

    @contextlib.contextmanager
    def preferred_victim(self) -> Iterator[None]:
        """Short of memory the kernel shall kill what is started here, not slot or server."""
        self._set_oom_score(max(_VICTIM, self._usual_oom_score))
        try:
            yield
        finally:
            self._set_oom_score(self._usual_oom_score)

    def is_dirty(self) -> bool:
        """Whether an action did to its slot what can't be undone: no other shall suffer from it.

        They share a session, and with it what decides about their share of the CPU.
        """
        return self._read_scheduling() != self._usual_scheduling

    def can_replace_directories(self) -> bool:
        """An overlay marks a directory that was removed and made anew by such an attribute."""
        try:
            os.setxattr(_UPPER, "user.overlay.probe", b"y")
            os.removexattr(_UPPER, "user.overlay.probe")
        except OSError:
            return False
        return True

    def limits_hit(self) -> list[str]:
        """By their names in ``ActionLimits``."""
        hit = []
        space = os.fstatvfs(self.stdout.file)
        outputs = (self.stdout, self.stderr)
        if any(output.full for output in outputs) or (space.f_blocks and not space.f_bfree):
            hit.append("scratch_bytes")
        if space.f_files and not space.f_ffree:
            hit.append("scratch_inodes")
        if any(output.too_long for output in outputs):
            hit.append("file_bytes")
        return hit

    def has_lost_output(self) -> bool:
        """Whether there was no room for all of standard output and error."""
        return any(output.full or output.too_long for output in (self.stdout, self.stderr))

    def renew(self) -> None:
        """Let go of all that the action had and prepare for the next; its descriptors are closed.

        Raises:
            OSError: the sandbox failed.
        """
        new_network = self._own_network and self._has_left_connections()
        syscalls.setns(self._namespace, CLONE_NEWNS)
        with self._base.fetched() as base:
            new_root.return_to(base)
        self._prepare(new_network)

    def _prepare(self, new_network: bool) -> None:
        syscalls.unshare(CLONE_NEWNS | CLONE_NEWIPC | (CLONE_NEWNET if new_network else 0))
        if new_network:
            syscalls.loopback_up()
        syscalls.mount("tmpfs", SCRATCH, "tmpfs", NOSUID | NODEV, self._scratch_options)
        os.mkdir(_UPPER)
        os.mkdir(_WORK)
        for target, (name, mode) in self._places.items():
            source = f"{SCRATCH}/{name}"
            os.mkdir(source)
            os.chmod(source, mode)
            syscalls.bind(source, target)
        self.stdout = OutputPipe(SCRATCH + "/stdout")
        self.stderr = OutputPipe(SCRATCH + "/stderr")

    def _has_left_connections(self) -> bool:
        """Sockets outlive their processes in TIME_WAIT, and keep their ports."""
        path = f"{VIEW}/proc/self/net/sockstat"
        with open(path, encoding="utf-8") as file:
            left = re.search(r"^TCP:.* orphan (\d+) tw (\d+)", file.read(), re.MULTILINE)
        return left is None or left.groups() != ("0", "0")

    def _read_scheduling(self) -> bytes:
        return b"" if self._scheduling < 0 else os.pread(self._scheduling, 128, 0)

    def _set_oom_score(self, score: int) -> None:
        os.pwrite(self._oom_score, str(score).encode(), 0)


class _Parked:
    """Keeps a descriptor, which it takes over, where no path leads to it: underway in a socket.

    Paths of actions are looked up here, by a process that has descriptors of its own: in
    /proc/self/fd they lead to any directory among them.
    """

    def __init__(self, descriptor: int) -> None:
        self._in, self._out = socket.socketpair()
        self._park(descriptor)

    @contextlib.contextmanager
    def fetched(self) -> Iterator[int]:
        """To be had for the length of the block."""
        _, (descriptor,), _, _ = socket.recv_fds(self._out, 1, 1)
        try:
            yield descriptor
        finally:
            self._park(descriptor)

    def _park(self, descriptor: int) -> None:
        socket.send_fds(self._in, [b"0"], [descriptor])
        os.close(descriptor)


def _scheduling_group() -> int:
    """The file of the session's priority, -1 where the kernel has none: sched(7), autogroup."""
    try:
        return os.open(f"{VIEW}/proc/self/autogroup", os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return -1


def _mount_overlay(layers: list[str], target: str) -> None:
    """Extended attributes of the user kind, since this isn't done by the host's root."""
    options = {"userxattr": "", "upperdir": _UPPER, "workdir": _WORK}
    os.chdir(LAYERS)
    lower = ":".join(re.sub(r"([\\:,])", r"\\\1", layer) for layer in layers)
    data = f"userxattr,upperdir={_UPPER},workdir={_WORK},lowerdir={lower}"
    if len(data) < _PAGE:
        syscalls.mount("overlay", target, "overlay", NOSUID | NODEV, data)
    else:
        syscalls.mount_layers(layers, target, options)
