"""A client of the server's admin interface: JSON over HTTP on loopback, never through a proxy.

The token is sent only to a server that has proved on the same connection that it knows it: see
`reapi_contract.challenge`.

It uses a plain socket and not `http.client`, whose import takes longer than the call, and which
limits the time of each read but not of the whole answer. The last request is of HTTP/1.0, whose
answer is never chunked and ends where the connection ends.
"""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from reapi_contract import challenge
from reapi_contract.json_records import from_json
from reapi_contract.state import State

Json = dict[str, object]

_MAX_ANSWER_BYTES = 16 * 1024 * 1024
_LENGTH = b"content-length:"


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


def prove(state: State, timeout_s: float = 1.0) -> challenge.Answer:
    """Let the server of a state file prove that it is this one. No secret is sent.

    `timeout_s` limits the whole exchange. Raises AdminError or one of its subclasses.
    """
    with _connected(state.admin_port, timeout_s) as connection:
        return _challenge(connection, state)


def call(
    state: State,
    method: str,
    path: str,
    body: Mapping[str, object] | None = None,
    timeout_s: float = 1.0,
) -> Json:
    """Send one request, with the token, to a server that has proved itself; its JSON answer.

    `timeout_s` limits the whole exchange. Raises AdminError or one of its subclasses.
    """
    payload = b"" if body is None else json.dumps(body).encode()
    head = (
        f"{method} {path} HTTP/1.0\r\n"
        f"Host: 127.0.0.1:{state.admin_port}\r\n"
        f"Authorization: Bearer {state.token}\r\n"
        f"Content-Type: application/json\r\n"
        f"Content-Length: {len(payload)}\r\n"
        f"Connection: close\r\n\r\n"
    )
    with _connected(state.admin_port, timeout_s) as connection:
        _challenge(connection, state)
        connection.send(head.encode() + payload)
        answer = connection.rest()
        return _parse(*answer, state.admin_port)


def _challenge(connection: _Connection, state: State) -> challenge.Answer:
    nonce, port = challenge.new_nonce(), state.admin_port
    connection.send(
        f"GET {challenge.PATH}?nonce={nonce} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n\r\n".encode()
    )
    answer = from_json(challenge.Answer, _parse(*connection.one_answer(), port))
    subject = challenge.Subject(state.token, state.boot_id, state.grpc_port, port)
    if not challenge.proves(answer, subject, nonce):
        raise _not_ours(port)
    return answer


@contextmanager
def _connected(port: int, timeout_s: float) -> Iterator[_Connection]:
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=timeout_s) as opened:
            yield _Connection(opened, timeout_s)
    except socket.timeout as error:  # its own class on 3.9, TimeoutError later
        raise AdminTimeoutError(f"no answer on port {port} within {timeout_s:g} s") from error
    except OSError as error:
        raise AdminError(f"port {port}: {error.strerror or error}") from error


class _Connection:
    """A connection with one limit for the time of all that happens on it."""

    def __init__(self, opened: socket.socket, timeout_s: float) -> None:
        self._socket, self._deadline = opened, time.monotonic() + timeout_s
        self._received = b""

    def send(self, request: bytes) -> None:
        self._limit()
        self._socket.sendall(request)

    def one_answer(self) -> tuple[bytes, bytes]:
        """Head and payload of an answer after which the connection stays open."""
        while b"\r\n\r\n" not in self._received and self._receive():
            pass
        head, _, self._received = self._received.partition(b"\r\n\r\n")
        length = _length_in(head)
        while len(self._received) < length and self._receive():
            pass
        payload, self._received = self._received[:length], self._received[length:]
        return head, payload

    def rest(self) -> tuple[bytes, bytes]:
        """Head and payload of the answer that ends with the connection."""
        while self._receive():
            pass
        head, _, payload = self._received.partition(b"\r\n\r\n")
        return head, payload

    def _receive(self) -> bool:
        """Receive more; False at the end, or if it is too much."""
        self._limit()
        chunk = self._socket.recv(65536)
        self._received += chunk
        return bool(chunk) and len(self._received) <= _MAX_ANSWER_BYTES

    def _limit(self) -> None:
        remaining_s = self._deadline - time.monotonic()
        if remaining_s <= 0:
            raise socket.timeout
        self._socket.settimeout(remaining_s)


def _length_in(head: bytes) -> int:
    """The length of the payload in bytes; 0 if the head names none."""
    for line in head.lower().split(b"\r\n"):
        if line.startswith(_LENGTH):
            number = line[len(_LENGTH) :].strip()
            return int(number) if number.isdigit() and len(number) < 9 else 0
    return 0


def _parse(head: bytes, payload: bytes, port: int) -> Json:
    try:
        status = int(head.split(b" ", 2)[1])
        content = json.loads(payload)
    except (IndexError, ValueError, RecursionError) as error:
        raise _not_ours(port) from error
    if not isinstance(content, dict):
        raise _not_ours(port)
    if status >= 400:
        raise AdminRefusedError(
            status, str(content.get("error", "")), str(content.get("message", ""))
        )
    return content


def _not_ours(port: int) -> AdminError:
    return AdminError(f"what answers on port {port} is not the reapi-local server that was started")
