"""The named caches of Pants: directories that actions of an instance share, limited in size.

An action may find its caches empty at any time, but they must not vanish while it runs. So the unit
of deletion is a whole instance, and only while no action runs with it.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import os
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Final, NamedTuple

from reapi_contract.data_dir import REMOVED_CACHES
from reapi_contract.disk_usage import disk_bytes
from reapi_local.clock import Clock, Timer
from reapi_local.execute.remove_tree import remove_tree
from reapi_local.threads import in_thread

_log = logging.getLogger(__name__)
_MEASURING_SHARE: Final = 0.01
"""The share of the time that may go into measuring the caches."""


class _Cache(NamedTuple):
    """The caches of one instance: when they were last used, and their bytes on disk."""

    used_at: float
    name: str
    disk_bytes: int


class NamedCaches:
    """The caches of all instances below ``directory``, which use at most ``max_bytes`` on disk.

    More is used while actions run with them, and until their size has been measured. Directories
    belong to ``owner`` (user and group id; None = to this process).
    """

    def __init__(self, directory: str, max_bytes: int, owner: int | None, clock: Clock) -> None:
        self._directory, self._max_bytes, self._owner = directory, max_bytes, owner
        self._clock = clock
        self._users: Counter[str] = Counter()
        self._removed = 0
        self._closed = False
        self._next_look = 0.0
        self._task: asyncio.Task[None] | None = None
        self._timer: Timer | None = None
        self._used_since_look: set[str] = set()

    @contextmanager
    def use(self, instance: str) -> Iterator[str]:
        """The directory of an instance's caches, on the host. It stays until the block is left."""
        name = hashlib.sha256(instance.encode()).hexdigest()[:16]
        path = os.path.join(self._directory, name)
        os.makedirs(path, mode=0o700, exist_ok=True)
        if self._owner is not None:
            os.chown(path, self._owner, self._owner)
        self._users[name] += 1
        try:
            yield path
        finally:
            self._users[name] -= 1
            if not self._users[name]:
                self._released(name, path)

    def begin_to_keep_limit(self) -> None:
        """Measure the caches and delete what is too much, in the background."""
        self._timer = None
        if self._task is None and not self._closed:
            self._task = asyncio.create_task(self._keep_limit())

    async def settle(self) -> None:
        """Wait until the limit is kept, as far as it can be."""
        if self._task is not None:
            await asyncio.wait([self._task])

    async def close(self) -> None:
        """Finish the deletion in progress; the next server goes on."""
        self._closed = True
        if self._timer is not None:
            self._timer.cancel()
        await self.settle()

    def _released(self, name: str, path: str) -> None:
        del self._users[name]
        with suppress(OSError):  # the mtime tells the next server when they were used
            os.utime(path)
        self._used_since_look.add(name)
        if self._task is None:
            self._look_when_due()

    def _look_when_due(self) -> None:
        if self._timer is None and not self._closed:
            wait = max(0.0, self._next_look - self._clock.monotonic())
            self._timer = self._clock.call_later(wait, self.begin_to_keep_limit)

    async def _keep_limit(self) -> None:
        self._used_since_look.clear()
        try:
            began = self._clock.monotonic()
            caches = await in_thread(self._measure)
            ended = self._clock.monotonic()
            self._next_look = ended + (ended - began) / _MEASURING_SHARE
            used_bytes = sum(cache.disk_bytes for cache in caches)
            for cache in sorted(caches):
                if used_bytes <= self._max_bytes or self._closed:
                    break
                if not self._users[cache.name] and cache.name not in self._used_since_look:
                    await self._remove(cache)
                    used_bytes -= cache.disk_bytes
        except OSError as error:
            _log.warning("the limit of the named caches isn't kept: %s", error)
        finally:
            self._task = None
            if self._used_since_look:
                self._look_when_due()

    def _measure(self) -> list[_Cache]:
        caches = []
        for entry in os.scandir(self._directory):
            if entry.name.startswith(REMOVED_CACHES):  # by an earlier server, which was killed
                remove_tree(entry.path)
            elif entry.is_dir(follow_symlinks=False):
                caches.append(_Cache(entry.stat().st_mtime, entry.name, disk_bytes(entry.path)))
        return caches

    async def _remove(self, cache: _Cache) -> None:
        """Delete caches without users. They are renamed first, so a new user makes new ones."""
        self._removed += 1
        removed = os.path.join(self._directory, f"{REMOVED_CACHES}{os.getpid()}-{self._removed}")
        os.rename(os.path.join(self._directory, cache.name), removed)
        _log.info(
            "named caches that were not used lately are deleted: %d bytes, limit %d",
            cache.disk_bytes,
            self._max_bytes,
        )
        await in_thread(remove_tree, removed)
