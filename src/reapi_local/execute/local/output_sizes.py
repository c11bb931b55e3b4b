"""How much of an action's outputs is read: no more than it had to write, apart from an allowance.

Holes in sparse files and further links to a file cost an action nothing, whatever its limits, but
take as long to read, hash and store as other bytes.
"""

from __future__ import annotations

import os
from typing import Final

from reapi_local.errors import BadOutput

MAX_BYTES: Final = 64 * 1024**3
"""Limit for all files together."""

MAX_FREE_BYTES: Final = 4 * 1024**3
"""Limit for the bytes that take no space: of holes, and of files that are read again."""

_BLOCK_BYTES: Final = 512
"""The unit of ``st_blocks``: stat(3type)."""


class OutputSizes:
    """Adds up the sizes of files before they are read."""

    def __init__(self) -> None:
        self._bytes = self._free_bytes = 0
        self._seen: set[tuple[int, int]] = set()

    def add(self, status: os.stat_result) -> None:
        """Count a file that is about to be read.

        Raises:
            BadOutput: there is too much to read.
        """
        file = status.st_dev, status.st_ino
        paid_bytes = 0 if file in self._seen else status.st_blocks * _BLOCK_BYTES
        self._seen.add(file)
        self._bytes += status.st_size
        self._free_bytes += max(0, status.st_size - paid_bytes)
        if self._bytes > MAX_BYTES:
            raise BadOutput(
                f"the output files have over {MAX_BYTES // 1024**3} GiB, including holes in sparse "
                "files; the action must leave less"
            )
        if self._free_bytes > MAX_FREE_BYTES:
            raise BadOutput(
                f"the output files have over {MAX_FREE_BYTES // 1024**3} GiB that take no space: "
                "holes in sparse files, or several links to one file; the action must leave less"
            )
