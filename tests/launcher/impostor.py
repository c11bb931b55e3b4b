"""A program of another user that has taken the ports of a server that was killed."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress

from patience import PATIENCE_S

Answer = Callable[[bytes], bytes]
"""What is answered to a request; b"" ends the connection."""


class Impostor:
    """`ports`: where it listens. `heard`: what it heard on all of them, in `calls` connections."""

    def __init__(self) -> None:
        self.heard = b""
        self.calls = 0
        self.ports: list[int] = []

    def _serve(self, listener: socket.socket, answer: Answer) -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return  # it was closed
            threading.Thread(target=self._talk, args=(connection, answer), daemon=True).start()

    def _talk(self, connection: socket.socket, answer: Answer) -> None:
        self.calls += 1
        with connection:
            connection.settimeout(PATIENCE_S)
            with suppress(ConnectionError):
                while request := connection.recv(65536):
                    self.heard += request
                    reply = answer(request)
                    if not reply:
                        return
                    connection.sendall(reply)


@contextmanager
def listening(*ports: int, answer: Answer) -> Iterator[Impostor]:
    """An impostor on these ports of the loopback interface."""
    impostor = Impostor()
    with ExitStack() as stack:
        for port in ports:
            listener = stack.enter_context(socket.create_server(("127.0.0.1", port)))
            impostor.ports.append(listener.getsockname()[1])
            stack.callback(listener.shutdown, socket.SHUT_RDWR)
            serve = threading.Thread(target=impostor._serve, args=(listener, answer), daemon=True)
            serve.start()
        yield impostor


def http(content: object) -> bytes:
    """An answer with status 200, after which the connection stays open."""
    payload = json.dumps(content).encode()
    return b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(payload), payload)


def relay(port: int) -> Answer:
    """Ask a server on another port, and answer what it does."""

    def answer(request: bytes) -> bytes:
        with socket.create_connection(("127.0.0.1", port), PATIENCE_S) as connection:
            connection.sendall(request.replace(b"HTTP/1.1", b"HTTP/1.0"))
            reply = b""
            while chunk := connection.recv(65536):
                reply += chunk
        return reply

    return answer
