"""A client of the server's admin interface: JSON over HTTP on loopback, never through a proxy.

It uses a plain socket and not `http.client`, whose import takes longer than the call, and which
limits the time of each read but not of the whole answer. With HTTP/1.0 an answer is never chunked,
and it ends where the connection ends.
"""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Mapping

Json = dict[str, object]

_MAX_ANSWER_BYTES = 16 * 1024 * 1024


class AdminError(Exception):
    """There is no usable answer: connection refused, or the peer is not our server."""


class AdminTimeoutError(AdminError):
    """The port is open, but no complete answer came in time."""


class AdminRefusedError(AdminError):
    """The server answered with an error: an HTTP `status`, a `code` for programs and a message."""

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(message or f"HTTP status {status}")
        self.status = status
        self.code = code


def call(
    port: int,
    token: str,
    method: str,
    path: str,
    body: Mapping[str, object] | None = None,
    timeout_s: float = 1.0,
) -> Json:
    """Send one request and return its JSON answer; `timeout_s` limits the whole exchange.

    Raises AdminError or one of its subclasses.
    """
    payload = b"" if body is None else json.dumps(body).encode()
    head = (
        f"{method} {path} HTTP/1.0\r\n"
        f"Host: 127.0.0.1:{port}\r\n"
        f"Authorization: Bearer {token}\r\n"
        f"Content-Type: application/json\r\n"
        f"Content-Length: {len(payload)}\r\n"
        f"Connection: close\r\n\r\n"
    )
    try:
        answer = _exchange(port, head.encode() + payload, timeout_s)
    except socket.timeout as error:  # its own class on 3.9, TimeoutError later
        raise AdminTimeoutError(f"no answer on port {port} within {timeout_s:g} s") from error
    except OSError as error:
        raise AdminError(f"port {port}: {error.strerror or error}") from error
    return _parse(answer, port)


def _exchange(port: int, request: bytes, timeout_s: float) -> bytes:
    deadline = time.monotonic() + timeout_s
    with socket.create_connection(("127.0.0.1", port), timeout=timeout_s) as connection:
        connection.sendall(request)
        received = bytearray()
        while len(received) <= _MAX_ANSWER_BYTES:
            remaining_s = deadline - time.monotonic()
            if remaining_s <= 0:
                raise socket.timeout
            connection.settimeout(remaining_s)
            chunk = connection.recv(65536)
            if not chunk:
                break
            received += chunk
    return bytes(received)


def _parse(answer: bytes, port: int) -> Json:
    head, _, payload = answer.partition(b"\r\n\r\n")
    try:
        status = int(head.split(b" ", 2)[1])
        content = json.loads(payload)
    except (IndexError, ValueError) as error:
        raise AdminError(f"what answers on port {port} is not a reapi-local server") from error
    if not isinstance(content, dict):
        raise AdminError(f"what answers on port {port} is not a reapi-local server")
    if status >= 400:
        raise AdminRefusedError(
            status, str(content.get("error", "")), str(content.get("message", ""))
        )
    return content
