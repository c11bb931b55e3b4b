"""Deletes files and directory trees in the background."""

from __future__ import annotations

import asyncio
import logging
import os
from collections import deque
from contextlib import suppress

from reapi_local.execute.remove_tree import remove_tree
from reapi_local.threads import in_thread

_log = logging.getLogger(__name__)


class BackgroundDeletion:
    """Deletes pairs of a file and a directory tree, one pair at a time, the file first."""

    def __init__(self) -> None:
        self._waiting: deque[tuple[str, str, int]] = deque()
        self._task: asyncio.Task[None] | None = None
        self.waiting_bytes = 0

    def add(self, file: str, directory: str, disk_bytes: int) -> None:
        """Schedule a deletion. Either path may be absent. Needs a running event loop."""
        self._waiting.append((file, directory, disk_bytes))
        self.waiting_bytes += disk_bytes
        if self._task is None:
            self._task = asyncio.create_task(self._run())

    async def settle(self) -> None:
        """Wait until all scheduled deletions are done."""
        if self._task is not None:
            await asyncio.wait([self._task])

    async def close(self) -> None:
        """Finish the current deletion and drop all others."""
        self._waiting.clear()
        await self.settle()

    async def _run(self) -> None:
        try:
            while self._waiting:
                file, directory, disk_bytes = self._waiting.popleft()
                try:
                    await in_thread(_remove, file, directory)
                except OSError as error:
                    _log.warning("%s can't be deleted: %s; delete it by hand", directory, error)
                self.waiting_bytes -= disk_bytes
        finally:
            self._task = None


def _remove(file: str, directory: str) -> None:
    with suppress(FileNotFoundError):
        os.unlink(file)
    remove_tree(directory)
