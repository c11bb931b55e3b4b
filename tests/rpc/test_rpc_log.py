"""What clients do wrong is no error in the server's log."""

from __future__ import annotations

import os

import pytest

from reapi_local.proto.bytestream_pb2 import ReadRequest
from reapi_local.proto.remote_execution_pb2 import GetCapabilitiesRequest
from rpc.frames import (
    DATA,
    END_HEADERS,
    END_STREAM,
    HEADERS,
    PREFACE,
    SETTINGS,
    answer_to,
    call_headers,
    frame,
    literal,
    message,
)
from rpc.helpers import MIB, Server, blob_name

pytestmark = pytest.mark.asyncio(loop_scope="module")

READS = 20
PATH = "/build.bazel.remote.execution.v2.Capabilities/GetCapabilities"


async def test_nothing_is_logged_of_reads_that_their_clients_cancel(
    shared_server: Server, caplog: pytest.LogCaptureFixture
) -> None:
    client = shared_server.client
    digest = await client.upload(os.urandom(20 * MIB))
    for _ in range(READS):
        call = client.Read(ReadRequest(resource_name=blob_name(digest)))
        assert (await call.read()).data
        call.cancel()
    while (await shared_server.status())["calls"].get("ByteStream/Read", {"count": 0})[
        "count"
    ] < READS:
        await client.GetCapabilities(GetCapabilitiesRequest())
    assert [record.getMessage() for record in caplog.records] == []


async def test_nothing_is_logged_of_headers_that_are_no_text(
    shared_server: Server, caplog: pytest.LogCaptureFixture
) -> None:
    headers = call_headers(PATH, shared_server.token) + literal(b"\xe1\xff", b"secret")
    await answer_to(
        shared_server.app.grpc_port,
        PREFACE
        + frame(SETTINGS)
        + frame(HEADERS, headers, flags=END_HEADERS, stream=1)
        + frame(DATA, message(b""), flags=END_STREAM, stream=1),
    )
    await shared_server.client.GetCapabilities(GetCapabilitiesRequest())
    assert [record.getMessage() for record in caplog.records] == []
