"""Messages between the server and a slot: JSON objects and file descriptors over a socket.

The socket preserves message boundaries (SOCK_SEQPACKET). A message that is too long for it, such
as a command line of megabytes, is sent as a memfd. Slots load this module: standard library only,
and few imports.
"""

from __future__ import annotations

import json
import os
import socket
import stat
from collections.abc import Iterable
from typing import Any, Final, TypedDict

_MAX_INLINE_BYTES: Final = 32 * 1024
_MAX_MESSAGE_BYTES: Final = 512 * 1024 * 1024
"""No request is longer: a Command has 8 MiB at most, which JSON and ``{chroot}`` make longer."""
_MAX_DESCRIPTORS: Final = 8
_ANCILLARY_BYTES: Final = socket.CMSG_SPACE(_MAX_DESCRIPTORS * 4)
_INLINE: Final = b"i"
_IN_MEMFD: Final = b"m"


class SlotSettings(TypedDict):
    """The first message to a slot: how to set itself up. Paths are those of the host.

    The descriptors sent with it are rulesets for ``landlock.restrict_self``.
    """

    base: str
    """An empty directory to mount on; nothing is written to it."""
    layers: str
    caches: str
    steps: list[tuple[str, str, str]]
    """The steps of a ``HostView``."""
    account_files: dict[str, str]
    """Contents of /etc/passwd and /etc/group, by path."""
    drop_root: bool
    """The slot starts as root, and changes to ``uid`` and ``gid`` while it sets itself up."""
    uid: int
    gid: int
    inner_uid: int
    inner_gid: int
    network: bool
    scratch_options: str
    """Mount options of the tmpfs that holds all files an action writes."""
    processes: int
    cpu_seconds: int
    file_bytes: int


class SlotRequest(TypedDict):
    """An action to run. ``layers`` and ``caches`` are relative to those of the settings.

    With the message comes the descriptor of the terminal that it is to have, if any.
    """

    arguments: list[str]
    environment: dict[str, str]
    working_directory: str
    layers: list[str]
    directories: list[str]
    caches: str | None


class SlotReport(TypedDict):
    """How an action ended. Descriptors of its input root, stdout and stderr are sent with it."""

    exit_code: int
    problem: str
    stopped: bool
    started_ns: int
    ended_ns: int
    user_seconds: float
    system_seconds: float
    max_rss_bytes: int
    limits_exceeded: list[str]
    """Names of fields of ``ActionLimits``."""
    discard: bool
    """This slot must not run another action."""


def send_message(to: socket.socket, message: object, descriptors: Iterable[int] = ()) -> None:
    """Send an object; the caller still has to close the descriptors.

    Raises:
        OSError: the peer is gone.
    """
    body = json.dumps(message).encode()
    if len(body) <= _MAX_INLINE_BYTES:
        socket.send_fds(to, [_INLINE, body], list(descriptors))
        return
    with open(os.memfd_create("message"), "wb") as file:
        file.write(body)
        file.flush()
        socket.send_fds(to, [_IN_MEMFD], [*descriptors, file.fileno()])


def receive_message(
    source: socket.socket, max_bytes: int = _MAX_MESSAGE_BYTES
) -> tuple[Any, list[int]]:
    """The next message, an object, and the descriptors sent with it, which the caller has to close.

    Raises:
        EOFError: the peer is gone.
        BlockingIOError: the socket is non-blocking, and there is no message yet.
        ValueError: the message is no object, or is over ``max_bytes``. No descriptor is left open.
    """
    try:
        data, ancillary, _, _ = source.recvmsg(
            _MAX_INLINE_BYTES + 1, _ANCILLARY_BYTES, socket.MSG_CMSG_CLOEXEC
        )
    except ConnectionError:
        data, ancillary = b"", []
    descriptors = [
        int.from_bytes(packed[at : at + 4], "little")
        for level, kind, packed in ancillary
        if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS
        for at in range(0, len(packed) - 3, 4)
    ]
    try:
        if not data:
            raise EOFError("the peer closed the connection")
        if data[:1] == _IN_MEMFD and descriptors:
            body = _read_memfd(descriptors.pop(), max_bytes)
        else:
            body = data[1:]
        return _decoded(body), descriptors
    except (EOFError, OSError, ValueError):
        for descriptor in descriptors:
            os.close(descriptor)
        raise


def _read_memfd(descriptor: int, max_bytes: int) -> bytes:
    """The content of a memfd, which is closed."""
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode) or status.st_size > max_bytes:
            raise ValueError(f"a message isn't in a file of at most {max_bytes} bytes")
        return os.pread(descriptor, status.st_size, 0)
    finally:
        os.close(descriptor)


def _decoded(body: bytes) -> dict[str, Any]:
    try:
        message = json.loads(body)
    except RecursionError as error:
        raise ValueError("a message is nested too deep") from error
    if not isinstance(message, dict):
        raise ValueError("a message isn't an object")
    return message
