"""Standard output or error of an action: a pipe for its process, emptied into a file.

A pipe as in a shell, not the file itself: a script that says ``> /dev/stderr`` would truncate a
file.
"""

from __future__ import annotations

import errno
import os
from typing import Final

from reapi_local.execute.sandbox.linux import syscalls

RESERVED: Final = 64 * 1024
"""Bytes for which there is room even when the action fills the file system, so that it can say so.
"""

_BATCH_SIZE: Final = 1024 * 1024


class OutputPipe:
    """``file`` is the descriptor of what was written, ``read_end`` the one to poll; both ours."""

    def __init__(self, path: str) -> None:
        self.file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        syscalls.reserve(self.file, RESERVED)
        self.read_end, self.write_end = os.pipe()
        os.set_blocking(self.read_end, False)
        self.full = self.too_long = False

    def close_write_end(self) -> None:
        """Once the process has it: the pipe shall end with the process."""
        os.close(self.write_end)

    def move(self) -> bool:
        """Write down what is there; False when no more will be.

        Where the file takes no more, reading stops, and writers get SIGPIPE: better an action that
        fails than one whose output lacks a part.
        """
        try:
            return self._splice() > 0
        except BlockingIOError:
            return True

    def finish(self) -> None:
        """Take the rest; the processes that wrote are gone."""
        try:
            while self.read_end >= 0 and self._splice():
                pass
        except BlockingIOError:  # somebody outside was given the other end, and is none of ours
            pass
        self.stop_reading()

    def stop_reading(self) -> None:
        """More than once does no harm."""
        if self.read_end >= 0:
            os.close(self.read_end)
            self.read_end = -1

    def _splice(self) -> int:
        try:
            return os.splice(self.read_end, self.file, _BATCH_SIZE)
        except OSError as error:
            if error.errno not in (errno.ENOSPC, errno.EFBIG):
                raise
            self.full |= error.errno == errno.ENOSPC
            self.too_long |= error.errno == errno.EFBIG
            return 0
