"""Clients that leave, wait, or come in hundreds; and a server that stops under them."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from patience import PATIENCE_S
from reapi_local.clock import ManualClock
from reapi_local.compose.server import running
from reapi_local.config.settings import config_of
from reapi_local.proto.bytestream_pb2 import QueryWriteStatusRequest, ReadRequest, WriteRequest
from reapi_local.proto.remote_execution_pb2 import (
    ActionResult,
    FindMissingBlobsRequest,
    GetActionResultRequest,
    GetCapabilitiesRequest,
    GetTreeRequest,
    UpdateActionResultRequest,
)
from rpc.helpers import (
    MIB,
    Client,
    Server,
    blob_name,
    digest_of,
    pieces,
    refusal,
    serving,
    upload_name,
)

LARGE = 40 * MIB
"""More than connections and transports hold by themselves: its reader has to take it."""
UNAVAILABLE = grpc.StatusCode.UNAVAILABLE


def open_blobs(server: Server) -> list[str]:
    """The files of blobs, whole and coming in, that this process has open."""
    store = os.path.join(server.config.data_dir, "store")
    return [
        path
        for path in map(_target, os.listdir("/proc/self/fd"))
        if path.startswith(store) and ("/large/" in path or "/incoming/" in path)
    ]


def _target(fd: str) -> str:
    try:
        return os.readlink(f"/proc/self/fd/{fd}")
    except FileNotFoundError:
        return ""


async def until(condition: Callable[[], bool], client: Client) -> None:
    """Wait for what the server does by itself after a client left; calls pass the time."""
    while not condition():
        await client.GetCapabilities(GetCapabilitiesRequest())


async def test_readers_that_leave_leave_nothing_open(server: Server) -> None:
    digest = await server.client.upload(os.urandom(LARGE))
    calls = [server.client.Read(ReadRequest(resource_name=blob_name(digest))) for _ in range(5)]
    for call in calls:
        assert (await call.read()).data
    assert open_blobs(server)
    for call in calls:
        call.cancel()
    await until(lambda: not open_blobs(server), server.client)


async def test_readers_whose_connection_breaks_leave_nothing_open(server: Server) -> None:
    digest = await server.client.upload(os.urandom(LARGE))
    client = server.connect()
    call = client.Read(ReadRequest(resource_name=blob_name(digest)))
    assert (await call.read()).data
    assert open_blobs(server)
    await client.channel.close()
    await until(lambda: not open_blobs(server), server.client)


async def test_readers_that_stall_hold_up_nobody(server: Server) -> None:
    """More of them than the event loop's pool has threads."""
    digest = await server.client.upload(os.urandom(LARGE))
    clients = [server.connect() for _ in range(12)]
    calls = [c.Read(ReadRequest(resource_name=blob_name(digest))) for c in clients]
    for call in calls:
        assert (await call.read()).data
    data = os.urandom(3 * MIB)
    assert await server.client.download(await server.client.upload(data)) == data
    for call in calls:
        call.cancel()


async def test_uploads_that_break_off_hold_a_bounded_number_of_files(
    tmp_path: Path, transport: str
) -> None:
    async with serving(tmp_path, transport) as server:
        for _ in range(70):
            data = os.urandom(100_000)
            name = upload_name(digest_of(data))
            call = server.client.Write()
            await call.write(WriteRequest(resource_name=name, data=data[:1000]))
            await _received(server.client, name, 1000)
            call.cancel()
        await until(lambda: len(open_blobs(server)) == 64, server.client)
    assert open_blobs(server) == []


async def test_an_upload_that_breaks_off_gives_its_room_back_when_it_is_finished(
    tmp_path: Path, transport: str
) -> None:
    async with serving(tmp_path, transport, max_size=8 * MIB) as server:
        data = os.urandom(5 * MIB)
        name = upload_name(digest_of(data))
        call = server.client.Write()
        await call.write(WriteRequest(resource_name=name, data=data[:MIB]))
        await _received(server.client, name, MIB)
        assert await _used(server) > 5 * MIB
        call.cancel()
        while await _is_busy(server.client.Write(pieces(name, data, start=MIB))):
            pass
        assert 5 * MIB < await _used(server) < 6 * MIB
        assert open_blobs(server) == []


async def test_a_refused_upload_gives_its_room_back(server: Server) -> None:
    before = await _used(server)
    digest = digest_of(b"something else")
    digest.size_bytes = 5 * MIB
    wrong = server.client.Write(pieces(upload_name(digest), bytes(5 * MIB)))
    await refusal(wrong, grpc.StatusCode.INVALID_ARGUMENT)
    assert await _used(server) == before
    assert open_blobs(server) == []


@pytest.mark.parametrize(
    ("form", "first"),
    [
        ("blobs", WriteRequest(data=b"x", finish_write=True)),
        ("blobs", WriteRequest(data=b"x", write_offset=1)),
        ("blobs", WriteRequest(finish_write=True)),
        ("blobs", WriteRequest()),
        ("compressed-blobs/zstd", WriteRequest()),
        ("compressed-blobs/zstd", WriteRequest(data=b"no zstd", finish_write=True)),
    ],
    ids=["ends-short", "begins-late", "ends-empty", "no-byte", "compressed-no-byte", "no-zstd"],
)
async def test_an_upload_that_only_names_a_size_evicts_nothing(
    tmp_path: Path, transport: str, form: str, first: WriteRequest
) -> None:
    async with serving(tmp_path, transport, max_size=8 * MIB, lease=0) as server:
        digest = await server.client.upload(os.urandom(3 * MIB))
        huge = digest_of(b"huge")
        huge.size_bytes = 7 * MIB
        first.resource_name = upload_name(huge).replace("blobs", form)
        await refusal(server.client.Write(iter([first])), grpc.StatusCode.INVALID_ARGUMENT)
        assert await server.client.missing(digest) == []
        assert open_blobs(server) == []
        real = os.urandom(7 * MIB)  # this one does need the room
        await server.client.Write(pieces(upload_name(digest_of(real)), real))
        assert await server.client.missing(digest) == [digest]


async def test_a_tree_whose_reader_leaves_is_given_up(server: Server) -> None:
    root = await server.client.upload(b"")
    call = server.client.GetTree(GetTreeRequest(root_digest=root))
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call.read()
    assert await server.client.missing(root) == []


async def test_five_hundred_calls_at_once(server: Server) -> None:
    client, action = server.client, digest_of(b"action")
    result = ActionResult(exit_code=7)
    await client.UpdateActionResult(
        UpdateActionResultRequest(action_digest=action, action_result=result)
    )
    data = [b"%d" % number for number in range(100)]
    uploads = [client.Write(pieces(upload_name(digest_of(d)), d)) for d in data]
    finds = [
        client.FindMissingBlobs(FindMissingBlobsRequest(blob_digests=[action])) for _ in range(200)
    ]
    gets = [
        client.GetActionResult(GetActionResultRequest(action_digest=action)) for _ in range(200)
    ]
    assert [answer.exit_code for answer in await asyncio.gather(*gets)] == [7] * 200
    assert all(answer.missing_blob_digests for answer in await asyncio.gather(*finds))
    assert [a.committed_size for a in await asyncio.gather(*uploads)] == [len(d) for d in data]
    assert (await server.status())["calls"]["ActionCache/GetActionResult"] == {
        "count": 200,
        "errors": 0,
    }


async def test_a_call_that_reaches_its_deadline_ends_and_frees_its_upload(server: Server) -> None:
    call, name, data = await _begun_before_its_deadline(server.client)
    await refusal(call, grpc.StatusCode.DEADLINE_EXCEEDED)
    while await _is_busy(server.client.Write(pieces(name, data, start=500))):
        pass
    assert await server.client.download(digest_of(data)) == data


async def test_headers_may_be_big_but_not_endless(server: Server) -> None:
    fits = server.connect(("x-big", "y" * 6000), ("x-big-bin", bytes(1000)))
    await fits.GetCapabilities(GetCapabilitiesRequest())
    endless = server.connect(("x-big", "y" * 1_000_000))
    with pytest.raises(grpc.aio.AioRpcError):
        await endless.GetCapabilities(GetCapabilitiesRequest())
    await server.client.GetCapabilities(GetCapabilitiesRequest())


async def test_a_message_over_64_mib_is_refused_and_the_server_goes_on(server: Server) -> None:
    too_big = b"\x12" + bytes(65 * MIB)
    await refusal(server.client.FindMissingBlobs(too_big), grpc.StatusCode.RESOURCE_EXHAUSTED)
    await refusal(server.client.Write(iter([too_big])), grpc.StatusCode.RESOURCE_EXHAUSTED)
    await server.client.GetCapabilities(GetCapabilitiesRequest())


async def test_status_counts_what_clients_did(server: Server) -> None:
    client = server.client
    digest = await client.upload(b"counted")
    await client.download(digest)
    await client.missing(digest)
    await client.missing(digest)
    await refusal(client.Read(ReadRequest(resource_name="x")), grpc.StatusCode.INVALID_ARGUMENT)
    get = GetActionResultRequest(instance_name="i", action_digest=digest)
    await refusal(client.GetActionResult(get), grpc.StatusCode.NOT_FOUND)
    update = UpdateActionResultRequest(
        instance_name="i", action_digest=digest, action_result=ActionResult()
    )
    await client.UpdateActionResult(update)
    await client.GetActionResult(get)
    status = await server.status()
    assert status["calls"] == {
        "ByteStream/Write": {"count": 1, "errors": 0},
        "ByteStream/Read": {"count": 2, "errors": 1},
        "ContentAddressableStorage/FindMissingBlobs": {"count": 2, "errors": 0},
        "ActionCache/GetActionResult": {"count": 2, "errors": 0},
        "ActionCache/UpdateActionResult": {"count": 1, "errors": 0},
    }
    assert status["action_cache"] == {"i": {"hits": 1, "misses": 1, "writes": 1}}
    assert status["instances"] == ["", "i"]


class Stopping:
    """A server that a test starts and stops itself, to look at it meanwhile."""

    def __init__(self, data_dir: Path, transport: str) -> None:
        self.config = config_of(
            {"data_dir": str(data_dir), "transport": transport, "sync": "relaxed"}
        )

    async def start(self) -> Client:
        self._context = running(self.config, "test")
        app = await self._context.__aenter__()
        self.server = Server(app, self.config)
        return self.server.connect()

    def begin(self) -> asyncio.Task[Any]:
        return asyncio.create_task(self._context.__aexit__(None, None, None))


@pytest.fixture
def stopping(tmp_path: Path, transport: str) -> Stopping:
    return Stopping(tmp_path, transport)


async def test_a_stopping_server_says_so_and_finishes_what_is_in_flight(
    stopping: Stopping, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("reapi_local.compose.server._GRACE_SECONDS", PATIENCE_S)
    client = await stopping.start()
    blob = os.urandom(LARGE)
    digest = await client.upload(blob)
    data = os.urandom(1000)
    name = upload_name(digest_of(data))
    upload = client.Write()
    await upload.write(WriteRequest(resource_name=name, data=data[:500]))
    await _received(client, name, 500)
    read = client.Read(ReadRequest(resource_name=blob_name(digest)))
    received = (await read.read()).data
    health = health_pb2_grpc.HealthStub(client.channel)
    watch = health.Watch(health_pb2.HealthCheckRequest(), metadata=client.headers)
    assert (await watch.read()).status == health_pb2.HealthCheckResponse.SERVING

    stopped = stopping.begin()
    assert (await watch.read()).status == health_pb2.HealthCheckResponse.NOT_SERVING
    watch.cancel()
    assert stopping.server.app.health().status == "stopping"
    late = stopping.server.connect()
    for refused in (client, late):
        await refusal(refused.GetCapabilities(GetCapabilitiesRequest()), UNAVAILABLE)
        await refusal(refused.Write(pieces(name, data)), UNAVAILABLE)
    assert not stopped.done()

    await upload.write(
        WriteRequest(resource_name=name, write_offset=500, data=data[500:], finish_write=True)
    )
    await upload.done_writing()
    assert (await upload).committed_size == 1000
    while (response := await read.read()) is not grpc.aio.EOF:
        received += response.data
    assert received == blob
    await stopped
    await late.channel.close()
    await client.channel.close()

    client = await stopping.start()
    assert await client.download(digest_of(data)) == data
    await client.channel.close()
    await stopping.begin()


async def test_a_stopping_server_does_not_wait_for_ever(
    stopping: Stopping, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("reapi_local.compose.server._GRACE_SECONDS", 0.1)
    client = await stopping.start()
    digest = await client.upload(os.urandom(LARGE))
    data = os.urandom(1000)
    name = upload_name(digest_of(data))
    clients = [stopping.server.connect() for _ in range(8)]
    reads = [c.Read(ReadRequest(resource_name=blob_name(digest))) for c in clients]
    for read in reads:
        assert (await read.read()).data
    upload = client.Write()
    await upload.write(WriteRequest(resource_name=name, data=data[:500]))
    await _received(client, name, 500)
    await stopping.begin()
    with pytest.raises(grpc.aio.AioRpcError):
        await upload
    assert open_blobs(stopping.server) == []
    for c in (client, *clients):
        await c.channel.close()


async def test_an_idle_server_stops_but_not_under_a_call_that_lasts(
    tmp_path: Path, transport: str
) -> None:
    clock = ManualClock()
    async with serving(tmp_path, transport, clock, idle_exit=0.001) as server:
        data = os.urandom(1000)
        name = upload_name(digest_of(data))
        call = server.client.Write()
        await call.write(WriteRequest(resource_name=name, data=data[:500]))
        await _received(server.client, name, 500)
        clock.advance(1000)
        waiting = asyncio.create_task(server.app.until_stopped())
        for _ in range(20):
            await server.client.QueryWriteStatus(QueryWriteStatusRequest(resource_name=name))
            clock.advance(1000)
        assert not waiting.done()
        await call.write(
            WriteRequest(resource_name=name, write_offset=500, data=data[500:], finish_write=True)
        )
        await call.done_writing()
        await call
        clock.advance(1000)
        await waiting


async def _used(server: Server) -> int:
    used = (await server.status())["store"]["disk_bytes"]
    assert isinstance(used, int)
    return used


async def _received(client: Client, name: str, size: int) -> None:
    query = QueryWriteStatusRequest(resource_name=name)
    while True:
        try:
            if (await client.QueryWriteStatus(query)).committed_size == size:
                return
        except grpc.aio.AioRpcError as error:
            if error.code() is not grpc.StatusCode.NOT_FOUND:
                raise


async def _begun_before_its_deadline(client: Client) -> tuple[Any, str, bytes]:
    """A Write whose first 500 bytes came before its deadline, its name, and all its 1000 bytes.

    What is short enough to wait for is too short for some machine: then it is tried with more.
    """
    seconds = 0.1
    while True:
        data = os.urandom(1000)
        name = upload_name(digest_of(data))
        query, call = QueryWriteStatusRequest(resource_name=name), client.Write(timeout=seconds)
        with suppress(grpc.aio.AioRpcError, asyncio.InvalidStateError):
            await call.write(WriteRequest(resource_name=name, data=data[:500]))
            while not call.done():
                with suppress(grpc.aio.AioRpcError):
                    if (await client.QueryWriteStatus(query)).committed_size == 500:
                        return call, name, data
        seconds *= 2


async def _is_busy(write: Any) -> bool:
    try:
        await write
    except grpc.aio.AioRpcError as error:
        # This is what grpc's client makes of a call that the server ends while the client sends.
        cut_short = error.details() == "Internal error from Core"
        if error.code() is not grpc.StatusCode.ABORTED and not cut_short:
            raise
        return True
    return False
