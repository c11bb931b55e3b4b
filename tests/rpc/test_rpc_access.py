"""Who may call what, what the server says of itself, and which runs it notices."""

from __future__ import annotations

import base64
from functools import partial
from typing import Any

import grpc
import pytest
from google.protobuf.descriptor_pb2 import FileDescriptorProto
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2

from patience import PATIENCE_S
from reapi_local.proto.bytestream_pb2 import ReadRequest
from reapi_local.proto.remote_execution_pb2 import (
    ActionResult,
    Compressor,
    DigestFunction,
    GetActionResultRequest,
    GetCapabilitiesRequest,
    RequestMetadata,
    UpdateActionResultRequest,
)
from rpc.helpers import (
    METHODS,
    OFFERED,
    Headers,
    Server,
    blob_name,
    consume,
    digest_of,
    pieces,
    refusal,
)

UNAUTHENTICATED = grpc.StatusCode.UNAUTHENTICATED
HEADERS = (
    "build.bazel.remote.execution.v2.requestmetadata-bin",
    "google.devtools.remoteexecution.v1test.requestmetadata-bin",
)


@pytest.mark.parametrize("method", OFFERED)
async def test_every_method_wants_the_token(server: Server, method: str) -> None:
    right = server.token
    wrong: dict[str, list[tuple[str, str | bytes]]] = {
        "none": [],
        "empty": [("authorization", "")],
        "other": [("authorization", "Bearer " + "x" * 43)],
        "beginning": [("authorization", f"Bearer {right[:-1]}")],
        "more": [("authorization", f"Bearer {right}x")],
        "bare": [("authorization", right)],
        "other scheme": [("authorization", f"Digest {right}")],
        "not encoded": [("authorization", f"Basic {right}")],
        "as the user": [("authorization", f"Basic {encoded(f'{right}:')}")],
        "no user and no colon": [("authorization", f"Basic {encoded(right)}")],
        "beginning of a password": [("authorization", f"Basic {encoded(f'me:{right[:-1]}')}")],
        "other header": [("x-authorization", f"Bearer {right}")],
        "wrong before right": [
            ("authorization", "Bearer wrong"),
            ("authorization", f"Bearer {right}"),
        ],
        "empty before right": [("authorization", ""), ("authorization", f"Bearer {right}")],
    }
    for headers in wrong.values():
        request = iter([b""]) if METHODS[method].client_streaming else b""
        call = getattr(server.client, method)(request, metadata=headers)
        details = await refusal(call, UNAUTHENTICATED, "token", "reapi-local token show")
        assert right not in details
    # With the token the request is looked at: an empty one is either fine or refused as such.
    try:
        await consume(getattr(server.client, method)(request))
    except grpc.aio.AioRpcError as error:
        assert error.code() is not UNAUTHENTICATED, error.details()  # noqa: PT017 - may succeed


@pytest.mark.parametrize("method", OFFERED)
async def test_schemes_have_no_case_and_the_token_may_be_a_password(
    server: Server, method: str
) -> None:
    token = server.token
    as_password = [encoded(f"{user}:{token}") for user in ("me", "", "a user", "ünser")]
    spelt = [f"{scheme} {token}" for scheme in ("bearer", "BEARER", "Bearer", "bEaReR")]
    passwords = [f"{scheme} {as_password[0]}" for scheme in ("Basic", "basic", "BASIC")]
    passwords += [f"Basic {one}" for one in as_password]

    def call(header: str) -> Any:
        request = iter([b""]) if METHODS[method].client_streaming else b""
        return getattr(server.client, method)(request, metadata=[("authorization", header)])

    if server.config.listen.transport == "native":
        remedy = ("password of HTTP Basic", "transport = grpcio", "--transport grpcio")
        for header in passwords:
            await refusal(call(header), UNAUTHENTICATED, *remedy)
    else:
        spelt += [*passwords, f"Bearer  {token}"]
    for header in spelt:
        try:
            await consume(call(header))
        except grpc.aio.AioRpcError as error:
            assert error.code() is not UNAUTHENTICATED, header  # noqa: PT017 - may succeed


def encoded(credentials: str) -> str:
    return base64.b64encode(credentials.encode()).decode()


async def test_a_call_without_the_token_changes_nothing(server: Server) -> None:
    stranger = server.connect(token=False)
    data = b"from a stranger"
    name = f"uploads/u/{blob_name(digest_of(data))}"
    await refusal(stranger.Write(pieces(name, data)), UNAUTHENTICATED)
    update = UpdateActionResultRequest(action_digest=digest_of(data), action_result=ActionResult())
    await refusal(stranger.UpdateActionResult(update), UNAUTHENTICATED)
    assert await server.client.missing(digest_of(data)) == [digest_of(data)]
    get = GetActionResultRequest(action_digest=digest_of(data))
    await refusal(server.client.GetActionResult(get), grpc.StatusCode.NOT_FOUND)


async def test_a_stranger_learns_nothing_of_what_is_stored(server: Server) -> None:
    """Neither by the answer nor by which mistake is told first."""
    digest = await server.client.upload(b"a secret")
    stranger = server.connect(token=False)
    answers = {
        await refusal(stranger.Read(ReadRequest(resource_name=name)), UNAUTHENTICATED)
        for name in (blob_name(digest), blob_name(digest_of(b"x")), "garbage")
    }
    assert len(answers) == 1
    await refusal(stranger.FindMissingBlobs(b"\xff\xff"), UNAUTHENTICATED)


async def test_capabilities_say_what_the_server_can_do_and_no_more(server: Server) -> None:
    answer = await server.client.GetCapabilities(GetCapabilitiesRequest())
    cache = answer.cache_capabilities
    assert {DigestFunction.Value.Name(f) for f in cache.digest_functions} == {
        "SHA256",
        "SHA384",
        "SHA512",
        "BLAKE3",
    }
    assert cache.action_cache_update_capabilities.update_enabled
    assert cache.max_batch_total_size_bytes == 2 * 1024 * 1024
    assert cache.supported_compressors == [Compressor.ZSTD]
    assert cache.supported_batch_update_compressors == [Compressor.ZSTD]
    assert not cache.split_blob_support
    assert not cache.splice_blob_support
    assert not answer.HasField("execution_capabilities")
    low, high = answer.low_api_version, answer.high_api_version
    assert (low.major, low.minor) == (2, 0)  # Bazel 2 and 4 speak 2.0
    assert (high.major, high.minor) == (2, 3)


async def test_health_is_told(server: Server) -> None:
    stub = health_pb2_grpc.HealthStub(server.client.channel)
    token = server.client.headers

    def check(service: str, headers: Headers) -> Any:
        request = health_pb2.HealthCheckRequest(service=service)
        return stub.Check(request, metadata=headers, timeout=PATIENCE_S)

    for name in ("", "build.bazel.remote.execution.v2.ActionCache", "google.bytestream.ByteStream"):
        assert (await check(name, token)).status == health_pb2.HealthCheckResponse.SERVING
    await refusal(check("x", token), grpc.StatusCode.NOT_FOUND)
    if server.config.listen.transport == "native":
        await refusal(check("", ()), UNAUTHENTICATED, "health", "--transport grpcio")
    else:  # which service is asked for stays unread
        for name in ("", "x"):
            answer = await check(name, [("authorization", "Bearer wrong")])
            assert answer.status == health_pb2.HealthCheckResponse.SERVING


@pytest.mark.parametrize("messages", [[], [b"\xff"]], ids=["none", "garbage"])
async def test_what_is_no_question_about_health_is_a_mistake_of_the_caller(
    server: Server, messages: list[bytes]
) -> None:
    check = server.client.channel.stream_unary("/grpc.health.v1.Health/Check")
    call = check(iter(messages), metadata=server.client.headers, timeout=PATIENCE_S)
    await refusal(call, grpc.StatusCode.INVALID_ARGUMENT, "HealthCheckRequest")


@pytest.mark.parametrize("version", ["v1", "v1alpha"])
async def test_reflection_names_what_is_offered(server: Server, version: str) -> None:
    method = server.client.channel.stream_stream(
        f"/grpc.reflection.{version}.ServerReflection/ServerReflectionInfo",
        request_serializer=reflection_pb2.ServerReflectionRequest.SerializeToString,
        response_deserializer=reflection_pb2.ServerReflectionResponse.FromString,
    )
    await refusal(method(timeout=PATIENCE_S), UNAUTHENTICATED, "token")
    ask = partial(method, metadata=server.client.headers, timeout=PATIENCE_S)
    [listed] = await consume(ask(iter([reflection_pb2.ServerReflectionRequest(list_services="")])))
    names = {service.name for service in listed.list_services_response.service}
    package = "build.bazel.remote.execution.v2"
    assert names >= {
        f"{package}.ActionCache",
        f"{package}.Capabilities",
        f"{package}.ContentAddressableStorage",
        "google.bytestream.ByteStream",
        "grpc.health.v1.Health",
    }
    assert f"{package}.Execution" in names
    versions = {"grpc.reflection.v1.ServerReflection", "grpc.reflection.v1alpha.ServerReflection"}
    assert versions <= names
    symbols = sorted(names)
    requests = [reflection_pb2.ServerReflectionRequest(file_containing_symbol=s) for s in symbols]
    for symbol, described in zip(symbols, await consume(ask(iter(requests))), strict=True):
        files = described.file_descriptor_response.file_descriptor_proto
        parsed = [FileDescriptorProto.FromString(file) for file in files]
        assert symbol in {f"{f.package}.{service.name}" for f in parsed for service in f.service}


@pytest.mark.parametrize("header", HEADERS)
async def test_look_ups_are_counted_for_the_run_that_makes_them(
    server: Server, header: str
) -> None:
    metadata = RequestMetadata(
        tool_details={"tool_name": "pants", "tool_version": "2.17.1"}, tool_invocation_id="run-1"
    )
    client = server.connect((header, metadata.SerializeToString()))
    there, absent = digest_of(b"there"), digest_of(b"absent")
    for instance in ("a", "b/c"):
        update = UpdateActionResultRequest(
            instance_name=instance, action_digest=there, action_result=ActionResult()
        )
        await client.UpdateActionResult(update)
        for action in (there, there, absent):
            get = GetActionResultRequest(instance_name=instance, action_digest=action)
            await _whether_found(client.GetActionResult(get))
    newest, older = await server.app.records.runs(None, 10)
    assert (newest.instance, older.instance) == ("b/c", "a")
    for run in (newest, older):
        assert (run.run, run.tool) == ("run-1", "pants 2.17.1")
        assert (run.hits, run.misses) == (2, 1)
        assert run.started_at <= run.last_call_at


@pytest.mark.parametrize(
    "headers",
    [
        (),
        ((HEADERS[0], b""),),
        ((HEADERS[0], b"\xff\xff"),),
        ((HEADERS[1], RequestMetadata(action_id="x").SerializeToString()),),
        (("requestmetadata", "x"),),
    ],
    ids=["absent", "empty", "garbage", "without-a-run", "other-header"],
)
async def test_look_ups_without_a_run_count_for_their_instance_alone(
    server: Server, headers: Any
) -> None:
    client = server.connect(*headers)
    get = GetActionResultRequest(instance_name="i", action_digest=digest_of(b"x"))
    await refusal(client.GetActionResult(get), grpc.StatusCode.NOT_FOUND)
    assert await server.app.records.runs(None, 10) == []
    assert (await server.status())["action_cache"] == {"i": {"hits": 0, "misses": 1, "writes": 0}}


async def _whether_found(call: Any) -> bool:
    try:
        await call
    except grpc.aio.AioRpcError as error:
        if error.code() is not grpc.StatusCode.NOT_FOUND:
            raise
        return False
    return True
