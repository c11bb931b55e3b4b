"""Messages between the server and a slot: JSON objects and file descriptors over a socket.

The socket keeps messages apart (SOCK_SEQPACKET). A message longer than it takes, such as a command
line of megabytes, travels as a file in memory. Standard library only, and little of it: slots load
this.
"""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Iterable
from typing import Any, Final, TypedDict

_MAX_INLINE: Final = 32 * 1024
_MAX_DESCRIPTORS: Final = 8
_ANCILLARY: Final = socket.CMSG_SPACE(_MAX_DESCRIPTORS * 4)
_INLINE: Final = b"i"
_IN_MEMORY_FILE: Final = b"m"


class Settings(TypedDict):
    """The first message: what a slot is to be. Paths are the host's."""

    base: str
    """An empty directory to build on; nothing is written to it."""
    layers: str
    caches: str
    steps: list[tuple[str, str, str]]
    accounts: dict[str, str]
    drop: bool
    """The process is root's and becomes ``user`` and ``group`` on the way."""
    user: int
    group: int
    inner_user: int
    inner_group: int
    network: bool
    scratch: str
    """Options of the tmpfs for what an action writes."""
    processes: int
    cpu_seconds: int
    file_bytes: int


class Order(TypedDict):
    """An action to run. ``layers`` and ``caches`` are relative to those of the settings."""

    arguments: list[str]
    environment: dict[str, str]
    working_directory: str
    layers: list[str]
    directories: list[str]
    caches: str | None


class Report(TypedDict):
    """What became of it; with the descriptors of the root, standard output and error."""

    exit_code: int
    problem: str
    stopped: bool
    started_ns: int
    ended_ns: int
    user_seconds: float
    system_seconds: float
    max_rss_bytes: int
    limits_hit: list[str]
    discard: bool
    """The slot isn't fit for another."""


def send(to: socket.socket, message: object, descriptors: Iterable[int] = ()) -> None:
    """Send an object; the descriptors stay the sender's to close.

    Raises:
        OSError: the other side is gone.
    """
    body = json.dumps(message).encode()
    if len(body) <= _MAX_INLINE:
        socket.send_fds(to, [_INLINE, body], list(descriptors))
        return
    with open(os.memfd_create("message"), "wb") as file:
        file.write(body)
        file.flush()
        socket.send_fds(to, [_IN_MEMORY_FILE], [*descriptors, file.fileno()])


def receive(source: socket.socket) -> tuple[Any, list[int]]:
    """The next message and the descriptors that came with it, the receiver's to close.

    Raises:
        EOFError: the other side is gone.
        BlockingIOError: the socket doesn't block and nothing is there yet.
        ValueError: nonsense came.
    """
    try:
        data, ancillary, _, _ = source.recvmsg(_MAX_INLINE + 1, _ANCILLARY, socket.MSG_CMSG_CLOEXEC)
    except ConnectionError:
        data, ancillary = b"", []
    descriptors = [
        int.from_bytes(packed[at : at + 4], "little")
        for level, kind, packed in ancillary
        if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS
        for at in range(0, len(packed) - 3, 4)
    ]
    if not data:
        raise EOFError("the other side closed the connection")
    if data[:1] == _IN_MEMORY_FILE and descriptors:
        with open(descriptors.pop(), "rb") as file:
            file.seek(0)
            return json.load(file), descriptors
    return json.loads(data[1:]), descriptors
