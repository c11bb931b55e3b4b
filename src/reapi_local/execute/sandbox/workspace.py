"""Inside a slot: the mounts, files and namespaces that one action gets, and no other sees."""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Iterator
from typing import Final

from reapi_local.execute.sandbox import syscalls
from reapi_local.execute.sandbox.new_root import CACHES, LAYERS, SCRATCH, VIEW
from reapi_local.execute.sandbox.output_pipe import OutputPipe
from reapi_local.execute.sandbox.syscalls import (
    CLONE_NEWIPC,
    CLONE_NEWNET,
    CLONE_NEWNS,
    NODEV,
    NOSUID,
)

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
        self._places = {
            VIEW + target: place
            for target, place in _PLACES.items()
            if os.path.realpath(VIEW + target) == VIEW + target and os.path.isdir(VIEW + target)
        }
        # Opened while the process may still look into itself through /proc.
        self._namespace = os.open(f"{VIEW}/proc/self/ns/mnt", os.O_RDONLY | os.O_CLOEXEC)
        self._oom_score = os.open(f"{VIEW}/proc/self/oom_score_adj", os.O_RDWR | os.O_CLOEXEC)
        self._usual_oom_score = int(os.pread(self._oom_score, 16, 0))
        self._prepare(new_network=False)

    def compose(self, layers: list[str], caches: str | None) -> int:
        """Mount the input root and the caches; returns a descriptor of the root."""
        target = VIEW + _ROOT
        if layers:
            _mount_overlay(layers, target)
        else:
            syscalls.bind(_UPPER, target)
        if caches is not None:
            syscalls.bind(os.path.join(CACHES, caches), VIEW + "/reapi/caches")
        return os.open(target, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)

    @contextlib.contextmanager
    def entered(self) -> Iterator[None]:
        """This process sees what the action will, and is at its input root."""
        os.chroot(VIEW)
        os.chdir(_ROOT)
        try:
            yield
        finally:
            os.fchdir(self._outside)
            os.chroot(".")

    @contextlib.contextmanager
    def preferred_victim(self) -> Iterator[None]:
        """Short of memory the kernel shall kill what is started here, not slot or server."""
        self._set_oom_score(max(_VICTIM, self._usual_oom_score))
        try:
            yield
        finally:
            self._set_oom_score(self._usual_oom_score)

    def can_replace_directories(self) -> bool:
        """An overlay marks a directory that was removed and made anew by such an attribute."""
        try:
            os.setxattr(_UPPER, "user.overlay.probe", b"y")
            os.removexattr(_UPPER, "user.overlay.probe")
        except OSError:
            return False
        return True

    def limits_hit(self) -> list[str]:
        """By their names in ``Limits``."""
        hit = []
        space = os.statvfs(SCRATCH)
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
        os.close(self._outside)
        syscalls.setns(self._namespace, CLONE_NEWNS)
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
        self._outside = os.open("/", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)

    def _has_left_connections(self) -> bool:
        """Sockets outlive their processes in TIME_WAIT, and keep their ports."""
        path = f"{VIEW}/proc/self/net/sockstat"
        with open(path, encoding="utf-8") as file:
            left = re.search(r"^TCP:.* orphan (\d+) tw (\d+)", file.read(), re.MULTILINE)
        return left is None or left.groups() != ("0", "0")

    def _set_oom_score(self, score: int) -> None:
        os.pwrite(self._oom_score, str(score).encode(), 0)


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
