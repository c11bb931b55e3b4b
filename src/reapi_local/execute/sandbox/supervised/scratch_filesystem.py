"""What the directories of actions are made of: the disk that is there, or limited memory."""

from __future__ import annotations

import errno
import os
from typing import Protocol

from reapi_local.execute.sandbox.interface import ActionLimits, SandboxError


class ScratchFilesystem(Protocol):
    """Something to be mounted on an empty directory."""

    def mount(self, path: str) -> None:
        """Put it there."""

    def unmount(self, path: str) -> None:
        """Take it away with all that is on it; none is there, no harm done."""

    def used_up(self, descriptor: int) -> list[str]:
        """Which limits are reached where ``descriptor`` is, by their names in ``ActionLimits``.

        Raises:
            SandboxError: there's no room, for want of a limit.
        """


class Disk:
    """Whatever file system is there, without limits."""

    def mount(self, path: str) -> None: ...

    def unmount(self, path: str) -> None: ...

    def used_up(self, descriptor: int) -> list[str]:
        if not os.fstatvfs(descriptor).f_bavail:
            raise SandboxError("the disk that actions write to is full; make room on it")
        return []


class Tmpfs:
    """A file system in memory, which only root can mount: with the limits of scratch space."""

    def __init__(self, limits: ActionLimits) -> None:
        self._options = f"mode=0700,size={limits.scratch_bytes},nr_inodes={limits.scratch_inodes}"

    def mount(self, path: str) -> None:
        from reapi_local.execute.sandbox.linux.syscalls import NODEV, NOSUID, mount

        mount("tmpfs", path, "tmpfs", NOSUID | NODEV, self._options)

    def unmount(self, path: str) -> None:
        from reapi_local.execute.sandbox.linux.syscalls import detach

        try:
            detach(path)
        except OSError as error:
            if error.errno not in (errno.EINVAL, errno.ENOENT):
                raise

    def used_up(self, descriptor: int) -> list[str]:
        space = os.fstatvfs(descriptor)
        used_up = []
        if space.f_blocks and not space.f_bfree:
            used_up.append("scratch_bytes")
        if space.f_files and not space.f_ffree:
            used_up.append("scratch_inodes")
        return used_up
