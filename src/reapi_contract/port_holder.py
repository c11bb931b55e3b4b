"""How a server and the launcher talk to the process that holds the ports of a killed server.

It listens on a unix socket in the data directory, which other users can't reach. To whoever
connects it sends the sockets that hold the ports. It ends when it is told to; it goes on if the
connection ends without that. A server that starts it has such a connection from the beginning.
"""

from __future__ import annotations

import os
import socket
from contextlib import suppress
from pathlib import Path

from reapi_contract.data_dir import HOLDER_SOCKET

END = b"e"
"""Tells the holder to end."""

_ANSWER_S = 10.0


def connect(data_dir: str | Path) -> socket.socket | None:
    """A connection to the holder of a data directory; None if there is none."""
    try:
        directory = os.open(data_dir, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError:
        return None
    connection = socket.socket(socket.AF_UNIX)
    connection.settimeout(_ANSWER_S)
    try:
        connection.connect(short_path(directory, HOLDER_SOCKET))
    except OSError:
        connection.close()
        return None
    finally:
        os.close(directory)
    return connection


def end(connection: socket.socket) -> None:
    """Tell the holder to end, and wait for it; closes the connection. Its ports are free then."""
    with connection, suppress(OSError):  # it has ended by itself, or is stuck
        connection.settimeout(_ANSWER_S)
        connection.sendall(END)
        while connection.recv(16):
            pass


def end_if_any(data_dir: str | Path) -> None:
    """End the holder of a data directory on which no server runs."""
    connection = connect(data_dir)
    if connection is not None:
        end(connection)


def short_path(directory: int, name: str) -> str:
    """The path of a file in an open directory. A socket's path is at most 107 bytes (unix(7))."""
    return f"/proc/self/fd/{directory}/{name}"
