"""Holds the ports of a server that was killed, until the next one takes them over.

It runs alone, without the server's packages, so that it is small: ``python -I -S`` with this file.
Its arguments are the path of the unix socket on which it listens, the number of that file (inode),
and descriptors: of the socket, of a connection to the server, and of the bound sockets.
``reapi_contract.port_holder`` says what is spoken.
"""

from __future__ import annotations

import os
import select
import socket
import sys
import time
from collections.abc import Sequence
from contextlib import suppress

_LONGEST_S = 24 * 3600.0
"""How long the ports of a server stay held that nobody starts again."""

_LOOK_S = 60.0


def hold(
    path: str, inode: int, listener: socket.socket, server: socket.socket, held: Sequence[int]
) -> None:
    """Hold the ports until somebody says that it is enough, or nobody can any more."""
    connections = {server.fileno(): server}
    poll = select.poll()
    poll.register(listener, select.POLLIN)
    poll.register(server, select.POLLIN)
    end = None
    while True:
        for descriptor, _ in poll.poll(None if end is None else _LOOK_S * 1000):
            connection = connections.get(descriptor)
            if connection is None:
                connection, _ = listener.accept()
                connections[connection.fileno()] = connection
                poll.register(connection, select.POLLIN)
                _give(connection, held)
            elif _says_end(connection):
                for one in held:  # first: the end of the connection says that they are free
                    os.close(one)
                return
            else:
                poll.unregister(connection)
                del connections[descriptor]
                connection.close()
                if connection is server:
                    end = time.monotonic() + _LONGEST_S
        if end is not None and (time.monotonic() > end or not _is_ours(path, inode)):
            return


def _give(connection: socket.socket, held: Sequence[int]) -> None:
    with suppress(OSError):  # it has hung up already, which the next poll tells
        socket.send_fds(connection, [b"p"], held)


def _says_end(connection: socket.socket) -> bool:
    try:
        return connection.recv(1) != b""
    except OSError:
        return False


def _is_ours(path: str, inode: int) -> bool:
    """Whether somebody can still reach this process by its path."""
    try:
        return os.stat(path).st_ino == inode
    except OSError:
        return False


def main(path: str, inode: str, *descriptors: str) -> None:
    listener, server, *held = map(int, descriptors)
    hold(path, int(inode), socket.socket(fileno=listener), socket.socket(fileno=server), held)


if __name__ == "__main__":
    main(*sys.argv[1:])
