"""What no gRPC client does, over HTTP/2 by hand: requests without an end, answers nobody takes."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterable
from contextlib import suppress

from patience import PATIENCE_S
from rpc import frames

WINDOW_UPDATE, CONTINUATION = 8, 9
_INITIAL_WINDOW_SIZE = 4
_USUAL_WINDOW = 65_535
_LONGEST_FRAME = 16_384


class Attacker:
    """One connection. ``window``: how many bytes of each answer it takes."""

    def __init__(self, port: int, token: str, window: int = _USUAL_WINDOW) -> None:
        self._token = token
        self._socket = socket.create_connection(("127.0.0.1", port), PATIENCE_S)
        self._news = threading.Condition()
        self._window, self._streams = _USUAL_WINDOW, dict[int, int]()
        self._initial = _USUAL_WINDOW
        self._next = 1
        self._ended = set[int]()
        """Streams that the server ended; 0 is the whole connection."""
        self.is_over = False
        setting = _INITIAL_WINDOW_SIZE.to_bytes(2, "big") + window.to_bytes(4, "big")
        self.send(frames.PREFACE + frames.frame(frames.SETTINGS, setting))
        threading.Thread(target=self._receive, daemon=True).start()

    def close(self) -> None:
        with suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()

    def send(self, data: bytes) -> None:
        """Raises OSError if the server has hung up."""
        self._socket.sendall(data)

    def begin(self, path: str) -> int:
        """Begin a call; returns its stream."""
        stream, self._next = self._next, self._next + 2
        self._streams[stream] = self._initial
        headers = frames.call_headers(path, self._token)
        self.send(frames.frame(frames.HEADERS, headers, flags=frames.END_HEADERS, stream=stream))
        return stream

    def call(self, path: str, request: bytes) -> None:
        """A whole call, whose answer is taken as far as the window lets it come."""
        stream = self.begin(path)
        self.pour(stream, [frames.message(request)])
        self.send(frames.frame(frames.DATA, flags=frames.END_STREAM, stream=stream))

    def pour(self, stream: int, pieces: Iterable[bytes]) -> None:
        """Send these bytes of a request, as fast as the server takes them."""
        for piece in pieces:
            rest = memoryview(piece)
            while rest:
                room = self._room(stream, min(len(rest), _LONGEST_FRAME))
                self.send(frames.frame(frames.DATA, bytes(rest[:room]), stream=stream))
                rest = rest[room:]

    def _room(self, stream: int, wanted: int) -> int:
        with self._news:
            while not (room := min(wanted, self._window, self._streams[stream])) > 0:
                is_over = self.is_over or self._ended & {0, stream}
                if is_over or not self._news.wait(PATIENCE_S):
                    raise ConnectionResetError("the server hung up, or takes no more")
            self._window -= room
            self._streams[stream] -= room
            return room

    def _receive(self) -> None:
        with suppress(OSError), self._socket.makefile("rb") as received:
            while len(head := received.read(9)) == 9:
                payload = received.read(int.from_bytes(head[:3], "big"))
                self._take(head[3], head[4], int.from_bytes(head[5:], "big"), payload)
        with self._news:
            self.is_over = True
            self._news.notify_all()

    def _take(self, kind: int, flags: int, stream: int, payload: bytes) -> None:
        with self._news:
            if kind == WINDOW_UPDATE:
                more = int.from_bytes(payload, "big")
                if not stream:
                    self._window += more
                elif stream in self._streams:
                    self._streams[stream] += more
            elif kind in (frames.RST_STREAM, frames.GO_AWAY):
                self._ended.add(stream)
            elif kind == frames.SETTINGS and not flags & frames.ACK:
                self._set(payload)
                self.send(frames.frame(frames.SETTINGS, flags=frames.ACK))
            self._news.notify_all()

    def _set(self, settings: bytes) -> None:
        for start in range(0, len(settings), 6):
            if int.from_bytes(settings[start : start + 2], "big") == _INITIAL_WINDOW_SIZE:
                size = int.from_bytes(settings[start + 2 : start + 6], "big")
                for stream in self._streams:
                    self._streams[stream] += size - self._initial
                self._initial = size


def at_once(attacks: Iterable[Callable[[], object]]) -> None:
    """Run each in a thread of its own, until all are done or hung up on."""

    def run(attack: Callable[[], object]) -> None:
        with suppress(OSError):
            attack()

    threads = [threading.Thread(target=run, args=(attack,), daemon=True) for attack in attacks]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE_S)


def unfinished(length: int) -> Iterable[bytes]:
    """The first ``length`` bytes of a message that lacks its last one."""
    yield b"\0" + (length + 1).to_bytes(4, "big")
    piece = bytes(1024 * 1024)
    for start in range(0, length, len(piece)):
        yield piece[: length - start]
