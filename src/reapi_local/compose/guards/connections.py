"""The connections of clients to this process, found as the kernel knows them.

No transport lists its connections, and none can be told to end one.
"""

from __future__ import annotations

import ctypes
import errno
import os
import resource
import socket
import struct
from collections.abc import Collection, Iterator
from contextlib import suppress
from typing import Final, NamedTuple

_OWN_DESCRIPTORS: Final = "/proc/self/fd"

# struct tcp_info of linux/tcp.h.
_ESTABLISHED: Final = 1
_TIMES: Final = struct.Struct("=I4xI")
_TIMES_OFFSET: Final = 44
_RECEIVED: Final = struct.Struct("=Q")
_RECEIVED_OFFSET: Final = 128
_TCP_INFO_BYTES: Final = 192

_libc = ctypes.CDLL(None, use_errno=True)
_NO_ADDRESS: Final = bytes(socket.AF_UNSPEC for _ in range(16))


class Connection(NamedTuple):
    """An established connection that was accepted on one of the server's ports."""

    descriptor: int
    peer: str
    """The client's address and port, ``127.0.0.1:40000``."""
    received_bytes: int
    """All that its client has sent so far."""
    received_ago_ms: int
    sent_ago_ms: int


def can_be_listed() -> bool:
    """Whether this system tells the connections of a process."""
    return os.path.isdir(_OWN_DESCRIPTORS)


def open_descriptors() -> Collection[int]:
    """The numbers of the open ones; if there is none left to look with, of all that can be."""
    try:
        return [int(name) for name in os.listdir(_OWN_DESCRIPTORS)]
    except OSError as error:
        if error.errno not in (errno.EMFILE, errno.ENFILE):
            return ()
        return range(resource.getrlimit(resource.RLIMIT_NOFILE)[0])


def connections(descriptors: Collection[int], ports: Collection[int]) -> Iterator[Connection]:
    """Those of the descriptors that are connections to these ports."""
    for descriptor in descriptors:
        if (found := _connection(descriptor, ports)) is not None:
            yield found


def _connection(descriptor: int, ports: Collection[int]) -> Connection | None:
    try:
        # Not duplicated, which would need a descriptor.
        tcp = socket.socket(fileno=descriptor)
    except OSError:  # no socket, or closed meanwhile
        return None
    try:
        if tcp.family not in (socket.AF_INET, socket.AF_INET6):
            return None
        if tcp.getsockname()[1] not in ports:
            return None
        info = tcp.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _TCP_INFO_BYTES)
        host, port = tcp.getpeername()[:2]
    except OSError:
        return None
    finally:
        tcp.detach()
    if len(info) < _RECEIVED_OFFSET + _RECEIVED.size or info[0] != _ESTABLISHED:
        return None
    sent_ago_ms, received_ago_ms = _TIMES.unpack_from(info, _TIMES_OFFSET)
    [received] = _RECEIVED.unpack_from(info, _RECEIVED_OFFSET)
    return Connection(descriptor, f"{host}:{port}", received, received_ago_ms, sent_ago_ms)


def hang_up(connection: Connection) -> None:
    """Reset a connection and drop what is in its buffers; its transport then closes it."""
    # connect(2): "AF_UNSPEC dissolves the association". A shutdown would leave the transport up to
    # 32 MiB to read.
    if _libc.connect(connection.descriptor, _NO_ADDRESS, len(_NO_ADDRESS)) == 0:
        return
    with suppress(OSError):
        tcp = socket.socket(fileno=connection.descriptor)
        try:
            tcp.shutdown(socket.SHUT_RDWR)
        finally:
            tcp.detach()
