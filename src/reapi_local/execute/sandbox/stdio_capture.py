"""Stdio capture: saves what an action writes to its standard output or error in a file.

The action gets a pipe, as from a shell. It doesn't get the file itself, because a script that
writes to ``> /dev/stderr`` would truncate it. Slots and supervisors run this in small processes:
standard library only, and few imports.
"""

from __future__ import annotations

import errno
import os

_CHUNK_BYTES = 64 * 1024  # the capacity of a pipe
_NO_SPACE = (errno.ENOSPC, errno.EFBIG, errno.EDQUOT)


class StdioCapture:
    """One pipe and the descriptor ``file`` that its content goes to.

    The pipe's two descriptors are closed by this class, ``file`` by the caller.
    ``write_error``: the errno with which the file accepted no more, or 0.
    """

    def __init__(self, read_end: int, write_end: int, file: int) -> None:
        self.read_end, self.write_end, self.file = read_end, write_end, file
        self.write_error = 0
        os.set_blocking(read_end, False)

    def close_write_end(self) -> None:
        """To be called once the action has the write end: then the pipe ends with the action."""
        os.close(self.write_end)

    def drain(self) -> bool:
        """Copy what is in the pipe to the file. False: nothing more will come, stop polling.

        If the file accepts no more, the read end is closed and the action gets SIGPIPE: an action
        that fails is better than one with incomplete output.
        """
        try:
            return self._copy_chunk() > 0
        except BlockingIOError:
            return True

    def finish(self) -> None:
        """Copy what is left. To be called when all processes of the action have exited."""
        try:
            while self._copy_chunk():
                pass
        except BlockingIOError:  # a process outside the sandbox holds the write end
            pass
        self._close_read_end()

    def _copy_chunk(self) -> int:
        if self.read_end < 0:
            return 0
        data = os.read(self.read_end, _CHUNK_BYTES)
        unwritten = memoryview(data)
        try:
            while unwritten:
                unwritten = unwritten[os.write(self.file, unwritten) :]
        except OSError as error:
            if error.errno not in _NO_SPACE:
                raise
            self.write_error = error.errno
            self._close_read_end()
            return 0
        return len(data)

    def _close_read_end(self) -> None:
        if self.read_end >= 0:
            os.close(self.read_end)
            self.read_end = -1
