"""File locks (flock). The kernel frees a lock when its holder ends, even if it is killed."""

from __future__ import annotations

import errno
import fcntl
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

_OPEN = os.O_CLOEXEC | os.O_NOFOLLOW


class LockTimeoutError(Exception):
    """Another process held the lock for the whole timeout."""


@contextmanager
def locked(
    path: Path, timeout_s: float, while_waiting: Callable[[], object] | None = None
) -> Iterator[None]:
    """Hold the exclusive lock on `path` inside the block. Raises LockTimeoutError and OSError.

    `while_waiting` is called again and again. When its value changes, the holder has made progress,
    and the timeout begins anew.

    It tries every 20 ms instead of waiting in the kernel: a blocking flock ends at a deadline only
    with the help of signals, and a plugin must not change the signals of Pants.
    """
    deadline, progress = time.monotonic() + timeout_s, None
    fd = os.open(path, os.O_RDWR | os.O_CREAT | _OPEN, 0o600)
    try:
        while not _try_lock(fd, fcntl.LOCK_EX):
            before, progress = progress, while_waiting() if while_waiting else None
            if progress != before:
                deadline = time.monotonic() + timeout_s
            if time.monotonic() > deadline:
                raise LockTimeoutError(str(path))
            time.sleep(0.02)
        yield
    finally:
        os.close(fd)


def is_locked(path: Path) -> bool:
    """Whether some process holds the lock on `path` now."""
    try:
        fd = os.open(path, os.O_RDONLY | _OPEN)
    except FileNotFoundError:
        return False
    try:
        return not _try_lock(fd, fcntl.LOCK_SH)
    finally:
        os.close(fd)


def _try_lock(fd: int, kind: int) -> bool:
    try:
        fcntl.flock(fd, kind | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in (errno.EWOULDBLOCK, errno.EACCES):
            return False
        raise
    return True
