"""A token that is replaced while the server runs: who gets in, and what becomes of calls."""

from __future__ import annotations

import os
from pathlib import Path

import grpc
import pytest

from reapi_local.errors import NoSpareToken
from reapi_local.proto.bytestream_pb2 import QueryWriteStatusRequest, ReadRequest, WriteRequest
from reapi_local.proto.remote_execution_pb2 import (
    ExecuteRequest,
    GetCapabilitiesRequest,
    WaitExecutionRequest,
)
from rpc.actions import COMPLETED, EXECUTING, Gate, gated, response_of, until
from rpc.helpers import MIB, Client, Server, blob_name, digest_of, refusal, serving, upload_name

UNAUTHENTICATED = grpc.StatusCode.UNAUTHENTICATED
LARGE = 40 * MIB
"""More than connections and transports hold by themselves: its reader has to take it."""
SPARES = 16


async def is_in(server: Server, token: str) -> bool:
    headers = [("authorization", f"Bearer {token}")]
    call = server.client.GetCapabilities(GetCapabilitiesRequest(), metadata=headers)
    code = await call.code()
    assert code in (grpc.StatusCode.OK, UNAUTHENTICATED)
    return bool(code is grpc.StatusCode.OK)


async def has_come(client: Client, upload: str, size: int) -> None:
    """Wait until the server has so many bytes of an upload."""
    query = QueryWriteStatusRequest(resource_name=upload)
    while True:
        call = client.QueryWriteStatus(query)
        if await call.code() is grpc.StatusCode.OK and (await call).committed_size == size:
            return


async def test_calls_in_flight_go_on_and_others_need_the_new_token(server: Server) -> None:
    client, old = server.client, server.token
    blob, data = os.urandom(LARGE), os.urandom(1000)
    read = client.Read(ReadRequest(resource_name=blob_name(await client.upload(blob))))
    received = (await read.read()).data
    name = upload_name(digest_of(data))
    upload = client.Write()
    await upload.write(WriteRequest(resource_name=name, data=data[:500]))
    await has_come(client, name, 500)

    server.app.rotate_token()
    await refusal(client.GetCapabilities(GetCapabilitiesRequest()), UNAUTHENTICATED, "token")
    await refusal(client.Write(iter([b""])), UNAUTHENTICATED, "token")
    assert server.token != old
    assert await is_in(server, server.token)

    rest = WriteRequest(resource_name=name, write_offset=500, data=data[500:], finish_write=True)
    await upload.write(rest)
    await upload.done_writing()
    assert (await upload).committed_size == 1000
    while (response := await read.read()) is not grpc.aio.EOF:
        received += response.data
    assert received == blob


async def test_an_execution_goes_on_while_the_token_is_replaced(
    tmp_path: Path, transport: str
) -> None:
    async with Gate() as gate, serving(tmp_path, transport, execution="on") as server:
        client = server.client
        stream = client.Execute(ExecuteRequest(action_digest=await gated(client, gate)))
        name = (await until(stream, EXECUTING)).name
        visitor = await gate.visitor()
        waiting = client.WaitExecution(WaitExecutionRequest(name=name))
        await until(waiting, EXECUTING)

        server.app.rotate_token()
        again = WaitExecutionRequest(name=name)
        await refusal(client.WaitExecution(again), UNAUTHENTICATED)
        late = server.connect().WaitExecution(again)
        await until(late, EXECUTING)
        visitor.let_through()
        for one in (stream, waiting, late):
            assert response_of(await until(one, COMPLETED)).result.exit_code == 0


async def test_each_token_is_worth_nothing_before_and_after_its_time(
    tmp_path: Path, transport: str
) -> None:
    async with serving(tmp_path, transport) as server:
        past = []
        for _ in range(SPARES):
            past.append(server.token)
            server.app.rotate_token()
            assert await is_in(server, server.token)
            assert not await is_in(server, past[-1])
        assert len({*past, server.token}) == SPARES + 1
        assert not any([await is_in(server, token) for token in past])


async def test_native_has_so_many_tokens_and_a_new_server_has_others(tmp_path: Path) -> None:
    async with serving(tmp_path, "native") as server:
        for _ in range(SPARES):
            server.app.rotate_token()
        last = server.token
        with pytest.raises(NoSpareToken, match=r"16 times .* until it is restarted"):
            server.app.rotate_token()
        assert server.token == last
        assert await is_in(server, last)
    async with serving(tmp_path, "native") as server:
        assert server.token == last
        server.app.rotate_token()
        assert server.token != last
        assert await is_in(server, server.token)


async def test_grpcio_needs_no_spares(tmp_path: Path) -> None:
    async with serving(tmp_path, "grpcio") as server:
        for _ in range(2 * SPARES):
            server.app.rotate_token()
        assert await is_in(server, server.token)


async def test_a_token_that_can_not_be_written_down_is_not_used_up(
    tmp_path: Path, transport: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with serving(tmp_path, transport) as server:
        old = server.token
        with monkeypatch.context() as full:
            full.setattr("reapi_local.compose.server.write_state", _disk_is_full)
            for _ in range(SPARES + 1):
                with pytest.raises(OSError, match="disk full"):
                    server.app.rotate_token()
        assert await is_in(server, old)
        server.app.rotate_token()
        assert await is_in(server, server.token)
        assert not await is_in(server, old)


def _disk_is_full(*_: object) -> None:
    raise OSError("disk full")
