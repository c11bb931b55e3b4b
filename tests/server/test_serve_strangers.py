"""What clients without the token can make a server hold in memory: nothing to speak of."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import grpc
import pytest

from patience import PATIENCE_S
from reapi_local.proto.remote_execution_pb2 import GetCapabilitiesRequest
from rpc.frames import (
    ACK,
    DATA,
    END_HEADERS,
    GO_AWAY,
    HEADERS,
    PING,
    PREFACE,
    RST_STREAM,
    SETTINGS,
    WINDOW_UPDATE,
    call_headers,
    frame,
)
from rpc.helpers import MIB, TRANSPORTS, Client, Headers, consume, refusal
from server.process import Process, state_of

pytestmark = [
    pytest.mark.asyncio(loop_scope="module"),
    pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs /proc"),
]

UNAUTHENTICATED = grpc.StatusCode.UNAUTHENTICATED
UNIMPLEMENTED = grpc.StatusCode.UNIMPLEMENTED
LITTLE_MIB = 30
CALLS, SIZE = 10, 30 * MIB
"""Of unfinished requests. Together they are ten times as much as the server may take for them."""
UNARY = "/build.bazel.remote.execution.v2.ContentAddressableStorage/BatchUpdateBlobs"
ONE_TO_MANY = "/google.bytestream.ByteStream/Read"
UPLOAD = "/google.bytestream.ByteStream/Write"
OTHERS = (
    "/grpc.health.v1.Health/Check",
    "/grpc.health.v1.Health/Watch",
    "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
    "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo",
    "/no.such.Service/Method",
)


@dataclass
class Served:
    """A server process."""

    transport: str
    pid: int
    port: int
    token: str

    @property
    def peak_mib(self) -> int:
        """The most memory that it has had so far."""
        status = Path(f"/proc/{self.pid}/status").read_text(encoding="utf-8")
        [line] = (line for line in status.splitlines() if line.startswith("VmHWM:"))
        return int(line.split()[1]) // 1024

    @property
    def headers(self) -> Headers:
        return [("authorization", f"Bearer {self.token}")]


@pytest.fixture(scope="module", params=TRANSPORTS)
def served(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Served]:
    data = tmp_path_factory.mktemp("data")
    flags = ("--transport", request.param, "--execution", "off")
    with Process("--data-dir", str(data), *flags) as process:
        process.serving()
        state = state_of(data)
        yield Served(request.param, state["pid"], state["grpc_port"], state["token"])


class Flood:
    """A connection that sends requests of ``SIZE`` bytes but for the last one, as fast as it may.

    Flow control (RFC 9113, section 5.2) says how fast that is.
    """

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer
        self._first_window = 65_535
        self._window = 65_535
        self._windows: dict[int, int] = {}
        self._rest: dict[int, int] = {}

    async def run(self, path: str, token: str = "") -> None:
        """Send all; return when each request is answered, or sent, and the server has read it."""
        send = self._writer.write
        send(PREFACE + frame(SETTINGS))
        for stream in range(1, 2 * CALLS, 2):
            send(frame(HEADERS, call_headers(path, token), flags=END_HEADERS, stream=stream))
            self._windows[stream] = self._first_window
            self._rest[stream] = SIZE - 1
            self._send(stream, b"\0" + SIZE.to_bytes(4, "big"))
        while self._rest:
            for stream in list(self._rest):
                self._send_what_fits(stream)
            if self._rest:
                await self._receive()
        send(frame(PING, bytes(8)))
        while await self._receive() != (PING, ACK):
            pass

    def _send(self, stream: int, data: bytes) -> None:
        self._writer.write(frame(DATA, data, stream=stream))
        self._window -= len(data)
        self._windows[stream] -= len(data)

    def _send_what_fits(self, stream: int) -> None:
        while size := min(self._window, self._windows[stream], self._rest[stream], 16_384):
            if size < 0:
                return
            self._send(stream, bytes(size))
            self._rest[stream] -= size
        if not self._rest[stream]:
            del self._rest[stream]

    async def _receive(self) -> tuple[int, int]:
        """Take in the next frame; its kind and flags."""
        await self._writer.drain()
        head = await self._reader.readexactly(9)
        payload = await self._reader.readexactly(int.from_bytes(head[:3], "big"))
        kind, flags, stream = head[3], head[4], int.from_bytes(head[5:], "big")
        assert kind != GO_AWAY, payload
        if kind == SETTINGS and not flags & ACK:
            self._take_settings(payload)
        elif kind == WINDOW_UPDATE:
            more = int.from_bytes(payload, "big")
            if stream:
                self._windows[stream] += more
            else:
                self._window += more
        elif kind in (HEADERS, RST_STREAM):
            self._rest.pop(stream, None)
        return kind, flags & ACK

    def _take_settings(self, payload: bytes) -> None:
        self._writer.write(frame(SETTINGS, flags=ACK))
        for at in range(0, len(payload), 6):
            if payload[at : at + 2] == b"\0\4":  # SETTINGS_INITIAL_WINDOW_SIZE
                now = int.from_bytes(payload[at + 2 : at + 6], "big")
                for stream in self._windows:
                    self._windows[stream] += now - self._first_window
                self._first_window = now


@pytest.mark.parametrize("path", [UNARY, ONE_TO_MANY, UPLOAD, *OTHERS])
async def test_unfinished_requests_of_strangers_take_no_memory(served: Served, path: str) -> None:
    before = served.peak_mib
    for token in ("", "wrong"):
        reader, writer = await asyncio.open_connection("127.0.0.1", served.port)
        async with asyncio.timeout(PATIENCE_S):
            await Flood(reader, writer).run(path, token)
        writer.close()
        await writer.wait_closed()
    assert served.peak_mib - before < LITTLE_MIB


@pytest.mark.parametrize("method", ["BatchUpdateBlobs", "Read", "Write"])
async def test_what_a_stranger_has_compressed_stays_so(served: Served, method: str) -> None:
    client = Client(f"127.0.0.1:{served.port}", served.headers)
    await client.GetCapabilities(GetCapabilitiesRequest())
    before = served.peak_mib
    bomb = bytes(128 * MIB)
    call = getattr(client, method)(
        iter([bomb]) if method == "Write" else bomb,
        metadata=[],
        compression=grpc.Compression.Gzip,
    )
    # grpcio also looks at the header that says how it is compressed.
    told = [UNAUTHENTICATED] if served.transport == "native" else [UNAUTHENTICATED, UNIMPLEMENTED]
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await consume(call)
    assert caught.value.code() in told, caught.value.details()
    assert served.peak_mib - before < LITTLE_MIB
    await client.channel.close()


@pytest.mark.parametrize("method", ["BatchUpdateBlobs", "Read", "Write"])
async def test_gzip_is_not_decompressed_with_the_token_either(served: Served, method: str) -> None:
    if served.transport == "native" and method != "Write":
        pytest.skip("pygrpc-native decompresses what comes with the token")
    client = Client(f"127.0.0.1:{served.port}", served.headers)
    await client.GetCapabilities(GetCapabilitiesRequest())
    before = served.peak_mib
    bomb = bytes(128 * MIB)
    request = iter([bomb]) if method == "Write" else bomb
    call = getattr(client, method)(request, compression=grpc.Compression.Gzip)
    await refusal(call, UNIMPLEMENTED, "gzip", "disabled")
    assert served.peak_mib - before < LITTLE_MIB
    await client.channel.close()
