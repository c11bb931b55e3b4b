"""The token is looked at when the headers of a call are there, before any of its request is.

The clients here begin calls and send nothing more. A server that waits for the request of such a
call never answers it.
"""

from __future__ import annotations

from typing import Any

import grpc
import pytest

from patience import PATIENCE_S
from reapi_local.proto.remote_execution_pb2 import GetCapabilitiesRequest
from reapi_local.rpc.methods import METHODS as METHODS_SERVED
from rpc.helpers import METHODS, MIB, Headers, Server, refusal

pytestmark = pytest.mark.asyncio(loop_scope="module")

UNAUTHENTICATED = grpc.StatusCode.UNAUTHENTICATED
UNIMPLEMENTED = grpc.StatusCode.UNIMPLEMENTED
INVALID_ARGUMENT = grpc.StatusCode.INVALID_ARGUMENT
SERVED = [name.partition("/")[2] for name in METHODS_SERVED]


def path_of(name: str) -> str:
    return f"/{METHODS[name].containing_service.full_name}/{name}"


def begin(server: Server, path: str, headers: Headers) -> Any:
    """A call of which the headers are sent, and nothing else until a message is written."""
    call = server.client.channel.stream_unary(path)
    return call(metadata=headers, timeout=PATIENCE_S)


@pytest.mark.parametrize("name", SERVED)
async def test_a_stranger_is_refused_before_the_request_comes(
    shared_server: Server, name: str
) -> None:
    for headers in ((), [("authorization", "Bearer wrong")], [("authorization", "Basic eDp5")]):
        call = begin(shared_server, path_of(name), headers)
        await refusal(call, UNAUTHENTICATED, "token", "reapi-local token show")


async def test_a_method_that_is_not_served_is_unknown_with_the_token(
    shared_server: Server,
) -> None:
    for path in ("/build.bazel.remote.execution.v2.Capabilities/Nope", "/a.b/C"):
        await refusal(begin(shared_server, path, shared_server.client.headers), UNIMPLEMENTED)
        is_native = shared_server.config.listen.transport == "native"
        expected = UNAUTHENTICATED if is_native else UNIMPLEMENTED
        await refusal(begin(shared_server, path, ()), expected)


@pytest.mark.parametrize("name", ["GetCapabilities", "Read", "Write"])
async def test_a_call_that_ends_before_its_request_is_a_mistake_of_the_caller(
    shared_server: Server, name: str
) -> None:
    if shared_server.config.listen.transport == "native" and name != "Write":
        pytest.skip("pygrpc-native answers by itself, with INTERNAL")
    call = begin(shared_server, path_of(name), shared_server.client.headers)
    await call.done_writing()
    await refusal(call, INVALID_ARGUMENT, "before its first message")


@pytest.mark.parametrize("name", ["FindMissingBlobs", "Read", "Write"])
async def test_no_message_is_decompressed(shared_server: Server, name: str) -> None:
    if shared_server.config.listen.transport == "native" and name != "Write":
        pytest.skip("pygrpc-native decompresses what comes with the token")
    request = bytes(MIB)
    call = getattr(shared_server.client, name)(
        iter([request]) if METHODS[name].client_streaming else request,
        compression=grpc.Compression.Gzip,
    )
    await refusal(call, UNIMPLEMENTED, "gzip", "disabled")
    await shared_server.client.GetCapabilities(GetCapabilitiesRequest())
