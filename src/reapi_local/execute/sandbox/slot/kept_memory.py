"""Finds memory of an action that is still held when the action has ended.

An action can pass an open file to another one that runs at the same time, over a socket in the
named caches that they share. Likewise it can leave pages of memory in a pipe there, or in a TCP
connection that the other one doesn't read. They then stay when their action has ended, and count
for a group without processes.
"""

from __future__ import annotations

import asyncio
import os
from typing import Final

from reapi_local.execute.sandbox.interface import ProcessSpec
from reapi_local.execute.sandbox.linux.cgroup import MemoryCgroup

_TOLERATED_BYTES: Final = max(32, os.cpu_count() or 1) * 1024 * 1024
"""The kernel counts a little more than is held: up to 256 KiB for each processor."""

_WAITS_SECONDS: Final = (0.02, 0.08, 0.4, 1.5)
"""The kernel frees some memory later, such as System V's shared memory of an IPC namespace."""


def counts_kept_memory(caches_dir: str) -> bool:
    """False if named caches are files in memory, or may be: these are kept on purpose."""
    device = os.stat(caches_dir).st_dev
    number = f"{os.major(device)}:{os.minor(device)}"
    with open("/proc/self/mountinfo", encoding="utf-8", errors="surrogateescape") as mounts:
        for mount in mounts:
            fields, _, rest = mount.partition(" - ")
            if fields.split()[2] == number:
                return rest.split()[0] not in ("tmpfs", "ramfs", "overlay")
    return True


def share_caches(one: ProcessSpec | None, other: ProcessSpec | None) -> bool:
    """Whether two running actions can meet in their named caches."""
    return bool(one and other and one.caches and one.caches == other.caches)


def share_network(one: ProcessSpec | None, other: ProcessSpec | None) -> bool:
    """Whether two running actions can meet in the host's network."""
    return bool(one and other and one.network and other.network)


async def is_freed(group: MemoryCgroup, own_bytes: int = 0) -> bool:
    """Wait until a group holds no more than ``own_bytes``; False if it still does."""
    for seconds in _WAITS_SECONDS:
        if _is_free(group, own_bytes):
            return True
        await asyncio.sleep(seconds)
    return _is_free(group, own_bytes)


def _is_free(group: MemoryCgroup, own_bytes: int) -> bool:
    try:
        return group.held_bytes() <= own_bytes + _TOLERATED_BYTES
    except OSError:  # the group is gone
        return True
