"""Gives each running action a directory of its own, with a copy of its input root."""

from __future__ import annotations

import asyncio
import errno
import itertools
import logging
import os
from collections.abc import AsyncIterator, Sequence
from contextlib import ExitStack, asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Final

from reapi_local.execute.remove_tree import remove_tree
from reapi_local.execute.sandbox.interface import SandboxError
from reapi_local.execute.sandbox.supervised.input_root_copy import copy_layers
from reapi_local.execute.sandbox.supervised.scratch_filesystem import Disk, ScratchFilesystem
from reapi_local.threads import in_thread

_log = logging.getLogger(__name__)
_DIRECTORIES: Final = {
    "root": 0o755,
    "home": 0o755,
    "tmp": 0o1777,
    "var-tmp": 0o1777,
    "shm": 0o1777,
}
_LOG_TAIL_BYTES: Final = 1000

STOPPING: Final = "the server is stopping"


@dataclass(frozen=True)
class ActionDir:
    """The directory of one action on the host, with a fresh copy of its input root.

    ``root_fd`` is the directory of the input root. What the supervisor writes to
    ``stdout_write_fd`` and ``stderr_write_fd`` can be read from ``stdout_fd`` and ``stderr_fd``.
    ``stderr_log_fd`` has messages of the sandbox itself.
    """

    path: str
    root_fd: int
    stdout_fd: int
    stderr_fd: int
    stdout_write_fd: int
    stderr_write_fd: int
    stderr_log_fd: int

    def directory(self, name: str) -> str:
        """The path of one of root, home, tmp, var-tmp and shm."""
        return os.path.join(self.path, name)

    def log_tail(self) -> str:
        """The end of the sandbox's messages, on one line."""
        size = os.fstat(self.stderr_log_fd).st_size
        text = os.pread(self.stderr_log_fd, _LOG_TAIL_BYTES, max(0, size - _LOG_TAIL_BYTES))
        return "; ".join(text.decode(errors="replace").split("\n")).strip("; ")


class ActionDirs:
    """At most ``count`` action directories at a time, in ``directory``, which has nothing else.

    ``owner``: the uid that owns everything an action may write to; None is the server's.
    """

    def __init__(
        self,
        directory: str,
        count: int,
        owner: int | None = None,
        scratch_filesystem: ScratchFilesystem | None = None,
    ) -> None:
        self._directory, self._count, self._owner = directory, count, owner
        self._scratch_filesystem = scratch_filesystem or Disk()
        self._free_names = [str(number) for number in reversed(range(count))]
        self._more_numbers = itertools.count(count)
        self._free = asyncio.Semaphore(count)
        self._is_closed = False

    async def start(self) -> None:
        """Create the directory, and remove what an earlier server left in it."""
        await in_thread(self._clear)
        os.makedirs(self._directory, mode=0o700)

    def limits_exceeded(self, descriptor: int) -> list[str]:
        """See :class:`ScratchFilesystem`."""
        return self._scratch_filesystem.limits_exceeded(descriptor)

    async def close(self) -> None:
        """Stop allocating, wait for users, delete everything. Idempotent."""
        self._is_closed = True
        for _ in range(self._count):
            await self._free.acquire()
        try:
            await in_thread(self._clear)
        finally:
            for _ in range(self._count):
                self._free.release()

    @asynccontextmanager
    async def allocate(self, layers: Sequence[str]) -> AsyncIterator[ActionDir]:
        """A directory for one action, with a copy of ``layers`` as its input root.

        Raises:
            SandboxError: there is no space for it, or this is closed.
        """
        async with self._free:
            if self._is_closed:
                raise SandboxError(STOPPING)
            name = self._free_names.pop()
            path = os.path.join(self._directory, name)
            try:
                try:
                    await in_thread(self._create, path, layers)
                except OSError as error:
                    raise SandboxError(_why_not_created(error)) from error
                with ExitStack() as descriptors:
                    yield _open(path, descriptors)
            finally:
                is_deleted = await in_thread(self._delete, path)
                self._free_names.append(name if is_deleted else str(next(self._more_numbers)))

    def _create(self, path: str, layers: Sequence[str]) -> None:
        os.mkdir(path, mode=0o700)
        self._scratch_filesystem.mount(path)
        for name, mode in _DIRECTORIES.items():
            directory = os.path.join(path, name)
            os.mkdir(directory)
            os.chmod(directory, mode)
            if self._owner is not None:
                os.chown(directory, self._owner, self._owner)
        copy_layers(layers, os.path.join(path, "root"), self._owner)

    def _delete(self, path: str) -> bool:
        try:
            self._scratch_filesystem.unmount(path)
            remove_tree(path)
        except OSError as error:
            _log.error("%s; the next start of the server tries again", error)
            return False
        return True

    def _clear(self) -> None:
        with suppress(FileNotFoundError):
            for name in os.listdir(self._directory):
                self._scratch_filesystem.unmount(os.path.join(self._directory, name))
        remove_tree(self._directory)


def _why_not_created(error: OSError) -> str:
    if error.errno == errno.ENOSPC:
        return (
            "there is no space for a copy of the action's inputs; free some space on the disk, or "
            "raise scratch_size and scratch_inodes, which count inputs, too"
        )
    return f"can't create the action's input root: {error}"


def _open(path: str, descriptors: ExitStack) -> ActionDir:
    def open_file(name: str, flags: int) -> int:
        descriptor = os.open(os.path.join(path, name), flags | os.O_CLOEXEC, mode=0o600)
        descriptors.callback(os.close, descriptor)
        return descriptor

    new = os.O_CREAT | os.O_EXCL
    return ActionDir(
        path=path,
        root_fd=open_file("root", os.O_RDONLY | os.O_DIRECTORY),
        stdout_write_fd=open_file("stdout", os.O_WRONLY | new),
        stderr_write_fd=open_file("stderr", os.O_WRONLY | new),
        stdout_fd=open_file("stdout", os.O_RDONLY),
        stderr_fd=open_file("stderr", os.O_RDONLY),
        stderr_log_fd=open_file("stderr-log", os.O_RDWR | new),
    )
