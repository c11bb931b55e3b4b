"""The file system that holds the directories of actions: the disk as it is, or a limited tmpfs."""

from __future__ import annotations

import errno
import os
from typing import Protocol

from reapi_local.execute.sandbox.interface import ActionLimits, SandboxError


class ScratchFilesystem(Protocol):
    """A file system to mount on an empty directory."""

    def mount(self, path: str) -> None:
        """Mount a new, empty one."""

    def unmount(self, path: str) -> None:
        """Unmount it and discard its contents; a no-op if nothing is mounted."""

    def limits_exceeded(self, descriptor: int) -> list[str]:
        """Which limits are reached on the file system of ``descriptor``: ``ActionLimits`` fields.

        Raises:
            SandboxError: the disk is full and no limit is configured.
        """


class Disk:
    """The file system that the directory is on, without limits."""

    def mount(self, path: str) -> None: ...

    def unmount(self, path: str) -> None: ...

    def limits_exceeded(self, descriptor: int) -> list[str]:
        if not os.fstatvfs(descriptor).f_bavail:
            raise SandboxError("the disk that actions write to is full; free some space on it")
        return []


class Tmpfs:
    """A file system in memory with the scratch limits. Only root can mount it."""

    def __init__(self, limits: ActionLimits) -> None:
        self._options = f"mode=0700,size={limits.scratch_bytes},nr_inodes={limits.scratch_inodes}"

    def mount(self, path: str) -> None:
        from reapi_local.execute.sandbox.linux.syscalls import NODEV, NOSUID, mount

        mount("tmpfs", path, "tmpfs", NOSUID | NODEV, self._options)

    def unmount(self, path: str) -> None:
        from reapi_local.execute.sandbox.linux.syscalls import unmount_lazily

        try:
            unmount_lazily(path)
        except OSError as error:
            if error.errno not in (errno.EINVAL, errno.ENOENT):
                raise

    def limits_exceeded(self, descriptor: int) -> list[str]:
        space = os.fstatvfs(descriptor)
        exceeded = []
        if space.f_blocks and not space.f_bfree:
            exceeded.append("scratch_bytes")
        if space.f_files and not space.f_ffree:
            exceeded.append("scratch_inodes")
        return exceeded
