"""Calls that are cancelled as soon as they came, before the event loop has served them."""

from __future__ import annotations

import asyncio
import gc
import socket
from contextlib import closing

import pytest

from reapi_local.proto.bytestream_pb2 import ReadRequest
from reapi_local.proto.remote_execution_pb2 import FindMissingBlobsRequest, GetCapabilitiesRequest
from rpc.frames import (
    ACK,
    CANCEL,
    DATA,
    END_HEADERS,
    END_STREAM,
    HEADERS,
    PING,
    PREFACE,
    RST_STREAM,
    SETTINGS,
    call_headers,
    frame,
    message,
)
from rpc.helpers import Server, blob_name, digest_of

pytestmark = pytest.mark.asyncio(loop_scope="module")

DIGEST = digest_of(b"absent")
REQUESTS = {
    "/build.bazel.remote.execution.v2.ContentAddressableStorage/FindMissingBlobs": (
        FindMissingBlobsRequest(blob_digests=[DIGEST]).SerializeToString()
    ),
    "/google.bytestream.ByteStream/Read": (
        ReadRequest(resource_name=blob_name(DIGEST)).SerializeToString()
    ),
}
CALLS = 20


def exchange(connection: socket.socket, *frames: bytes) -> None:
    """Send frames and wait until the server has taken them. The event loop stands still."""
    connection.sendall(b"".join((*frames, frame(PING, bytes(8)))))
    with connection.makefile("rb") as received:
        while True:
            head = received.read(9)
            received.read(int.from_bytes(head[:3], "big"))
            if head[3] == PING and head[4] & ACK:
                return


@pytest.mark.parametrize("path", REQUESTS)
async def test_calls_that_are_cancelled_before_they_are_served_leave_nothing(
    shared_server: Server, path: str
) -> None:
    headers = call_headers(path, shared_server.token)
    with closing(socket.create_connection(("127.0.0.1", shared_server.app.grpc_port))) as raw:
        raw.sendall(PREFACE + frame(SETTINGS) + frame(SETTINGS, flags=ACK))
        for stream in range(1, 2 * CALLS, 2):
            exchange(
                raw,
                frame(HEADERS, headers, flags=END_HEADERS, stream=stream),
                frame(DATA, message(REQUESTS[path]), flags=END_STREAM, stream=stream),
            )
            exchange(raw, frame(RST_STREAM, CANCEL, stream=stream))
    for _ in range(2):  # they come after all of the others
        await shared_server.client.GetCapabilities(GetCapabilitiesRequest())
    gc.collect()
    tasks = [thing for thing in gc.get_objects() if isinstance(thing, asyncio.Task)]
    assert not [task for task in tasks if task.done() and task.cancelled()]
