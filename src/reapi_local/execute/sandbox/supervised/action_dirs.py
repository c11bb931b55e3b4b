"""A directory of its own for each action that runs at the moment."""

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

from reapi_local.execute.deletion import remove
from reapi_local.execute.sandbox.interface import SandboxError
from reapi_local.execute.sandbox.supervised.input_root_copy import compose
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
_SAYING_BYTES: Final = 1000

STOPPING: Final = "the server is stopping"


@dataclass(frozen=True)
class ActionDir:
    """Where one action runs, on the host; it has a fresh copy of its input root.

    The descriptors: ``root`` is the directory of the input root, ``stdout`` and ``stderr`` are to
    read what the action writes to ``to_stdout`` and ``to_stderr``. In ``sayings`` is what the
    sandbox itself has to say.
    """

    path: str
    root: int
    stdout: int
    stderr: int
    to_stdout: int
    to_stderr: int
    sayings: int

    def directory(self, name: str) -> str:
        """One of root, home, tmp, var-tmp and shm."""
        return os.path.join(self.path, name)

    def said(self) -> str:
        """The end of ``sayings``, on one line."""
        size = os.fstat(self.sayings).st_size
        text = os.pread(self.sayings, _SAYING_BYTES, max(0, size - _SAYING_BYTES))
        return "; ".join(text.decode(errors="replace").split("\n")).strip("; ")


class ActionDirs:
    """At most ``count`` at once, in ``directory``, which has nothing else.

    ``owner`` is the uid that all an action may write to belongs to, None = the server's.
    """

    def __init__(
        self,
        directory: str,
        count: int,
        owner: int | None = None,
        scratch_filesystem: ScratchFilesystem | None = None,
    ) -> None:
        self._directory, self._count, self._owner = directory, count, owner
        self._medium = scratch_filesystem or Disk()
        self._free = [str(number) for number in reversed(range(count))]
        self._more = itertools.count(count)
        self._turn = asyncio.Semaphore(count)
        self._refusing = False

    async def start(self) -> None:
        """Make the directory, and clear away what an earlier server left in it."""
        await in_thread(self._clear)
        os.makedirs(self._directory, mode=0o700)

    def used_up(self, descriptor: int) -> list[str]:
        """Which limits are reached where that is, by their names in ``ActionLimits``."""
        return self._medium.used_up(descriptor)

    async def close(self) -> None:
        """Give no more, wait for those in use, and remove all. More than once does no harm."""
        self._refusing = True
        for _ in range(self._count):
            await self._turn.acquire()
        try:
            await in_thread(self._clear)
        finally:
            for _ in range(self._count):
                self._turn.release()

    @asynccontextmanager
    async def taken(self, layers: Sequence[str]) -> AsyncIterator[ActionDir]:
        """A directory for one action, its input root made of ``layers``.

        Raises:
            SandboxError: there's no room for it, or no more are given.
        """
        async with self._turn:
            if self._refusing:
                raise SandboxError(STOPPING)
            name = self._free.pop()
            path = os.path.join(self._directory, name)
            try:
                try:
                    await in_thread(self._make, path, layers)
                except OSError as error:
                    raise SandboxError(_why_not_made(error)) from error
                with ExitStack() as descriptors:
                    yield _opened(path, descriptors)
            finally:
                discarded = await in_thread(self._discard, path)
                self._free.append(name if discarded else str(next(self._more)))

    def _make(self, path: str, layers: Sequence[str]) -> None:
        os.mkdir(path, mode=0o700)
        self._medium.mount(path)
        for name, mode in _DIRECTORIES.items():
            directory = os.path.join(path, name)
            os.mkdir(directory)
            os.chmod(directory, mode)
            if self._owner is not None:
                os.chown(directory, self._owner, self._owner)
        compose(layers, os.path.join(path, "root"), self._owner)

    def _discard(self, path: str) -> bool:
        try:
            self._medium.unmount(path)
            remove(path)
        except OSError as error:
            _log.error("%s; it stays until the server starts again", error)
            return False
        return True

    def _clear(self) -> None:
        with suppress(FileNotFoundError):
            for name in os.listdir(self._directory):
                self._medium.unmount(os.path.join(self._directory, name))
        remove(self._directory)


def _why_not_made(error: OSError) -> str:
    if error.errno == errno.ENOSPC:
        return (
            "there is no room for a copy of the action's inputs; make room on the disk, or raise "
            "scratch_size and scratch_inodes, towards which they count"
        )
    return f"can't make the action's input root: {error}"


def _opened(path: str, descriptors: ExitStack) -> ActionDir:
    def opened(name: str, flags: int) -> int:
        descriptor = os.open(os.path.join(path, name), flags | os.O_CLOEXEC, mode=0o600)
        descriptors.callback(os.close, descriptor)
        return descriptor

    new = os.O_WRONLY | os.O_CREAT | os.O_EXCL
    return ActionDir(
        path=path,
        root=opened("root", os.O_RDONLY | os.O_DIRECTORY),
        to_stdout=opened("stdout", new),
        to_stderr=opened("stderr", new),
        stdout=opened("stdout", os.O_RDONLY),
        stderr=opened("stderr", os.O_RDONLY),
        sayings=opened("sayings", os.O_RDWR | os.O_CREAT | os.O_EXCL),
    )
