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

from rpc.frames import (
    ACK,
    END_HEADERS,
    GO_AWAY,
    HEADERS,
    PING,
    PREFACE,
    SETTINGS,
    call_headers,
    frame,
)
from rpc.helpers import Server

pytestmark = pytest.mark.asyncio(loop_scope="module")

PINGS = 20


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
    block = call_headers("/google.bytestream.ByteStream/Write", shared_server.token)
    async with connected(shared_server) as connection:
        connection.send(frame(HEADERS, block, flags=END_HEADERS, stream=1))
        for number in range(PINGS):
            await connection.ping(number)
