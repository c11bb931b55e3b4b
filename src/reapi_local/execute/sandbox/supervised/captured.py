"""What an action writes to its standard output or error: a pipe, as in a shell, put into a file.

Not the file itself, which a script that says ``> /dev/stderr`` would truncate.
"""

from __future__ import annotations

import errno
import os

_CHUNK_BYTES = 1 << 20
_FULL = (errno.ENOSPC, errno.EFBIG, errno.EDQUOT)


class Captured:
    """Takes over the descriptors. ``refused``: the errno with which the file took no more, or 0."""

    def __init__(self, read_end: int, write_end: int, file: int) -> None:
        self.read_end, self._file = read_end, file
        self.refused = 0
        os.set_blocking(read_end, False)
        os.close(write_end)  # the action has its own

    def move(self) -> int:
        """Write down what is there, so many bytes; 0 = nothing, or there won't be more.

        Where the file takes no more, reading ends and writers get SIGPIPE: better an action that
        fails than one whose output lacks a part.
        """
        if self.refused:
            return 0
        try:
            data = os.read(self.read_end, _CHUNK_BYTES)
        except BlockingIOError:
            return 0
        left = memoryview(data)
        try:
            while left:
                left = left[os.write(self._file, left) :]
        except OSError as error:
            if error.errno not in _FULL:
                raise
            self.refused = error.errno
            os.close(self.read_end)
            return 0
        return len(data)

    def finish(self) -> None:
        """Take the rest."""
        while self.move():
            pass
