"""The directory for the unix sockets of a server: below its data directory, not in $TMPDIR.

The native transport passes some calls on to grpcio, over a unix socket. Where temporary files are,
cleaners would delete it while the server runs, and the paths of some directories are too long for
a socket's address (unix(7): 107 bytes).
"""

from __future__ import annotations

import os
import shutil
import socket
from typing import Final

from reapi_local.compose.data_dir import unusable

_NAME: Final = "sockets"
_TRIED: Final = "x" * 40
"""A name that is longer than those of the sockets in use."""


class SocketDirectory:
    """An open, empty directory in the data directory, closed to other users.

    Whoever makes it holds the lock of the data directory: it deletes what a killed server left.

    Raises:
        OSError: it can't be made.
    """

    def __init__(self, data_dir: str) -> None:
        directory = os.path.join(data_dir, _NAME)
        shutil.rmtree(directory, ignore_errors=True)
        os.makedirs(directory, mode=0o700, exist_ok=True)
        self._fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        # The kernel leads this path to the open directory, whatever the length of its own path.
        short = f"/proc/self/fd/{self._fd}"
        self.path = short if os.path.isdir(short) else directory

    def close(self) -> None:
        """To be called when its sockets are closed."""
        os.close(self._fd)

    def why_unusable(self) -> str | None:
        """Why no socket can be made in it; None if one can."""
        path = os.path.join(self.path, _TRIED)
        try:
            with socket.socket(socket.AF_UNIX) as tried:
                tried.bind(path)
            os.unlink(path)
        except OSError as error:
            return str(error)
        return None


def open_sockets(data_dir: str) -> SocketDirectory:
    """That directory, made anew. Raises CannotStart if it can't be made."""
    try:
        return SocketDirectory(data_dir)
    except OSError as error:
        raise unusable(data_dir, error) from error
