"""How much of the disk files and directories occupy, counted as `du` does."""

from __future__ import annotations

import os
from contextlib import suppress
from typing import Union

_BLOCK_BYTES = 512
"""The unit of `st_blocks`, whatever the file system (POSIX, `sys/stat.h`)."""

Seen = set[tuple[int, int]]
"""Files with several names that have been counted: device and inode."""


def disk_bytes(path: Union[str, os.PathLike[str]], seen: Seen | None = None) -> int:
    """The bytes of disk of a file, or of a directory with everything below it. Blocks.

    Files that vanish meanwhile or cannot be looked at count nothing, symlinks only themselves. A
    file with several names counts once, and not at all if it is in `seen`.
    """
    seen = set() if seen is None else seen
    try:
        status = os.lstat(path)
    except OSError:
        return 0
    total, directories = status.st_blocks * _BLOCK_BYTES, [os.fspath(path)]
    while directories:
        # An error ends the listing of this directory: what was counted of it still counts.
        with suppress(OSError), os.scandir(directories.pop()) as entries:
            for entry in entries:
                total += _bytes_of(entry, seen)
                if entry.is_dir(follow_symlinks=False):
                    directories.append(entry.path)
    return total


def _bytes_of(entry: os.DirEntry[str], seen: Seen) -> int:
    try:
        status = entry.stat(follow_symlinks=False)
    except OSError:
        return 0
    if status.st_nlink > 1 and not entry.is_dir(follow_symlinks=False):
        identity = (status.st_dev, status.st_ino)
        if identity in seen:
            return 0
        seen.add(identity)
    return status.st_blocks * _BLOCK_BYTES
