"""Clients that ping while nothing else is sent, as Bazel does with `--grpc_keepalive_time`.

The pings are HTTP/2 frames, one right after another, which is more often than any gRPC client sends
them. A server by gRPC's defaults takes more than one in five minutes for abuse and soon hangs up.
So a server that answers all of these hangs up at no interval.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from rpc.helpers import Server

pytestmark = pytest.mark.asyncio(loop_scope="module")

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
HEADERS, SETTINGS, PING, GO_AWAY = 1, 4, 6, 7
ACK, END_HEADERS = 1, 4
PINGS = 20


def frame(kind: int, payload: bytes = b"", *, flags: int = 0, stream: int = 0) -> bytes:
    """A frame of HTTP/2 (RFC 9113, section 4.1)."""
    return (
        len(payload).to_bytes(3, "big") + bytes((kind, flags)) + stream.to_bytes(4, "big") + payload
    )


def literal(name: bytes, value: bytes) -> bytes:
    """A header without indexing and without Huffman code (RFC 7541, section 6.2.2)."""
    assert max(len(name), len(value)) < 127
    return b"\0" + bytes((len(name),)) + name + bytes((len(value),)) + value


class Connection:
    """Frames of HTTP/2 to and from a server."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer

    def send(self, *frames: bytes) -> None:
        self._writer.write(b"".join(frames))

    async def next(self) -> tuple[int, int, bytes]:
        """Type, flags and payload of the next frame."""
        head = await self._reader.readexactly(9)
        return head[3], head[4], await self._reader.readexactly(int.from_bytes(head[:3], "big"))

    async def ping(self, number: int) -> None:
        """Send a ping and wait for its answer."""
        self.send(frame(PING, number.to_bytes(8, "big")))
        while True:
            kind, flags, payload = await self.next()
            assert kind != GO_AWAY, payload
            assert kind != HEADERS, "the call was answered"
            if kind == PING and flags & ACK:
                assert payload == number.to_bytes(8, "big")
                return


@asynccontextmanager
async def connected(server: Server) -> AsyncIterator[Connection]:
    reader, writer = await asyncio.open_connection("127.0.0.1", server.app.grpc_port)
    connection = Connection(reader, writer)
    connection.send(PREFACE, frame(SETTINGS), frame(SETTINGS, flags=ACK))
    try:
        yield connection
    finally:
        writer.close()


async def test_pings_without_a_call_are_answered(shared_server: Server) -> None:
    async with connected(shared_server) as connection:
        for number in range(PINGS):
            await connection.ping(number)


async def test_pings_during_a_silent_call_are_answered(shared_server: Server) -> None:
    """The call is an upload of which nothing comes; an Execute is as silent in between."""
    headers = {
        b":method": b"POST",
        b":scheme": b"http",
        b":path": b"/google.bytestream.ByteStream/Write",
        b":authority": b"localhost",
        b"te": b"trailers",
        b"content-type": b"application/grpc",
        b"authorization": f"Bearer {shared_server.token}".encode(),
    }
    block = b"".join(literal(name, value) for name, value in headers.items())
    async with connected(shared_server) as connection:
        connection.send(frame(HEADERS, block, flags=END_HEADERS, stream=1))
        for number in range(PINGS):
            await connection.ping(number)
