"""Who may do what is decided before a call reaches a service: for every method there is."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from tempfile import TemporaryDirectory
from typing import Any

import grpc
import pytest
from google.longrunning import operations_pb2

from reapi_contract.admin_api import ExecutionStatus
from reapi_local.access.access_control import AccessControl
from reapi_local.access.instances import Instances
from reapi_local.access.principal import OWNER, READER, WRITER, Principal, Verb
from reapi_local.clock import SystemClock
from reapi_local.context import Context
from reapi_local.errors import OperationNotFound
from reapi_local.events import CallEnded, EventStream
from reapi_local.execute.executor import ExecuteRequest, OperationState
from reapi_local.proto.bytestream_pb2 import QueryWriteStatusRequest, ReadRequest
from reapi_local.proto.remote_execution_pb2 import (
    ActionResult,
    BatchReadBlobsRequest,
    BatchUpdateBlobsRequest,
    FindMissingBlobsRequest,
    GetActionResultRequest,
    GetCapabilitiesRequest,
    GetTreeRequest,
    UpdateActionResultRequest,
    WaitExecutionRequest,
)
from reapi_local.proto.remote_execution_pb2 import ExecuteRequest as ExecuteMessage
from reapi_local.rpc.action_cache_service import ActionCacheService
from reapi_local.rpc.byte_stream_service import ByteStreamService
from reapi_local.rpc.capabilities_service import CapabilitiesService
from reapi_local.rpc.cas_service import CasService
from reapi_local.rpc.execution_service import ExecutionService
from reapi_local.rpc.grpc_server import GrpcServer
from reapi_local.rpc.in_flight import InFlight
from reapi_local.rpc.interceptor import Interceptor
from reapi_local.rpc.methods import METHODS
from reapi_local.rpc.operations_service import OperationsService
from reapi_local.store.memory import MemoryActionCache, MemoryStore
from rpc.helpers import MIB, TRANSPORTS, Client, blob_name, consume, digest_of, pieces, upload_name

DATA = b"content"
DIGEST = digest_of(DATA)
OPERATION = "operations/0"


class NoOperations:
    """An executor that was asked for nothing yet."""

    async def execute(
        self, context: Context, request: ExecuteRequest
    ) -> AsyncGenerator[OperationState, None]:
        raise OperationNotFound("nothing is executed")
        yield

    async def wait(self, context: Context, name: str) -> AsyncGenerator[OperationState, None]:
        raise OperationNotFound("there is none")
        yield

    async def get(self, context: Context, name: str) -> OperationState:
        raise OperationNotFound("there is none")

    async def list(self, context: Context, *, all_instances: bool) -> list[OperationState]:
        return []

    async def cancel(self, context: Context, name: str) -> None:
        raise OperationNotFound("there is none")

    async def forget(self, context: Context, name: str) -> None:
        raise OperationNotFound("there is none")

    async def describe(self) -> ExecutionStatus:
        return ExecutionStatus()

    def drain(self) -> None: ...

    async def close(self) -> None: ...


def calls(client: Client, instance: str) -> dict[str, Any]:
    """One call of each method, about that instance, by the method's name."""
    where, operation = {"instance_name": instance}, "/".join(filter(None, (instance, OPERATION)))
    return {
        "ActionCache/GetActionResult": lambda: client.GetActionResult(
            GetActionResultRequest(action_digest=DIGEST, **where)
        ),
        "ActionCache/UpdateActionResult": lambda: client.UpdateActionResult(
            UpdateActionResultRequest(action_digest=DIGEST, action_result=ActionResult(), **where)
        ),
        "ByteStream/Read": lambda: client.Read(
            ReadRequest(resource_name=blob_name(DIGEST, instance))
        ),
        "ByteStream/Write": lambda: client.Write(pieces(upload_name(DIGEST, instance), DATA)),
        "ByteStream/QueryWriteStatus": lambda: client.QueryWriteStatus(
            QueryWriteStatusRequest(resource_name=upload_name(DIGEST, instance))
        ),
        "Capabilities/GetCapabilities": lambda: client.GetCapabilities(
            GetCapabilitiesRequest(**where)
        ),
        "ContentAddressableStorage/FindMissingBlobs": lambda: client.FindMissingBlobs(
            FindMissingBlobsRequest(blob_digests=[DIGEST], **where)
        ),
        "ContentAddressableStorage/BatchUpdateBlobs": lambda: client.BatchUpdateBlobs(
            BatchUpdateBlobsRequest(requests=[{"digest": DIGEST, "data": DATA}], **where)
        ),
        "ContentAddressableStorage/BatchReadBlobs": lambda: client.BatchReadBlobs(
            BatchReadBlobsRequest(digests=[DIGEST], **where)
        ),
        "ContentAddressableStorage/GetTree": lambda: client.GetTree(
            GetTreeRequest(root_digest=DIGEST, **where)
        ),
        "Execution/Execute": lambda: client.Execute(ExecuteMessage(action_digest=DIGEST, **where)),
        "Execution/WaitExecution": lambda: client.WaitExecution(
            WaitExecutionRequest(name=operation)
        ),
        "Operations/GetOperation": lambda: client.GetOperation(
            operations_pb2.GetOperationRequest(name=operation)
        ),
        "Operations/ListOperations": lambda: client.ListOperations(
            operations_pb2.ListOperationsRequest(name=operation.rpartition("/")[0])
        ),
        "Operations/CancelOperation": lambda: client.CancelOperation(
            operations_pb2.CancelOperationRequest(name=operation)
        ),
        "Operations/DeleteOperation": lambda: client.DeleteOperation(
            operations_pb2.DeleteOperationRequest(name=operation)
        ),
    }


@pytest.fixture(params=TRANSPORTS)
async def served(request: pytest.FixtureRequest) -> AsyncIterator[tuple[str, list[CallEnded]]]:
    """A server whose principals may do one thing each; the token is the name of the verb."""
    async with authorizing(request.param) as served:
        yield served


@asynccontextmanager
async def authorizing(
    transport: Any, without_token: Principal | None = None
) -> AsyncIterator[tuple[str, list[CallEnded]]]:
    """The address of a server with those principals, and the calls that ended."""
    principals = {verb.value: Principal(verb.value, frozenset({verb}), "") for verb in Verb}
    events, ended = EventStream(), list[CallEnded]()
    events.subscribe(CallEnded, ended.append)
    access = AccessControl(principals, Instances(("main",)), without_token)
    blobs, executor, in_flight = MemoryStore(), NoOperations(), InFlight(1024 * MIB)
    sockets = TemporaryDirectory()
    server = GrpcServer(
        Interceptor(access, events, SystemClock(), in_flight),
        {
            "ActionCache": ActionCacheService(MemoryActionCache(), blobs, SystemClock()),
            "ByteStream": ByteStreamService(blobs, SystemClock(), 1024 * MIB),
            "Capabilities": CapabilitiesService(executor),
            "ContentAddressableStorage": CasService(blobs, in_flight),
            "Execution": ExecutionService(executor),
            "Operations": OperationsService(executor),
        },
        transport,
        sockets.name,
        list(principals),
    )
    port = server.bind("127.0.0.1:0")
    await server.start()
    try:
        yield f"127.0.0.1:{port}", ended
    finally:
        await server.stop(0)
        sockets.cleanup()


@asynccontextmanager
async def connected(address: str, token: str) -> AsyncIterator[Client]:
    client = Client(address, [("authorization", f"Bearer {token}")] if token else [])
    try:
        yield client
    finally:
        await client.channel.close()


async def code_of(call: Any) -> grpc.StatusCode:
    try:
        await consume(call)
    except grpc.aio.AioRpcError as error:
        return error.code()
    return grpc.StatusCode.OK


def test_every_method_is_tried_here() -> None:
    assert calls(None, "").keys() == METHODS.keys()  # type: ignore[arg-type]


async def test_a_principal_may_do_what_its_verbs_allow_and_nothing_else(served: Any) -> None:
    address, ended = served
    for verb in Verb:
        async with connected(address, verb.value) as client:
            for name, call in calls(client, "main").items():
                is_denied = await code_of(call()) is grpc.StatusCode.PERMISSION_DENIED
                assert is_denied == (METHODS[name].verb is not verb), (verb, name)
    denied = [event for event in ended if event.code == grpc.StatusCode.PERMISSION_DENIED.value[0]]
    assert len(denied) == 3 * len(METHODS)
    assert all(event.context is None for event in denied)


async def test_without_a_token_nobody_may_do_anything(served: Any) -> None:
    address, _ = served
    for token in ("", "nobody's"):
        async with connected(address, token) as client:
            for name, call in calls(client, "main").items():
                assert await code_of(call()) is grpc.StatusCode.UNAUTHENTICATED, name


@pytest.mark.parametrize("who", [READER, WRITER, OWNER], ids=lambda who: "+".join(who.verbs))
async def test_a_call_without_a_token_may_do_what_it_is_allowed_and_nothing_else(
    who: Principal,
) -> None:
    async with authorizing("grpcio", who) as (address, ended), connected(address, "") as client:
        for name, call in calls(client, "main").items():
            is_denied = await code_of(call()) is grpc.StatusCode.PERMISSION_DENIED
            assert is_denied == (METHODS[name].verb not in who.verbs), name
        denied = [event for event in ended if event.context is None]
        assert len(denied) == sum(method.verb not in who.verbs for method in METHODS.values())


async def test_a_wrong_token_is_refused_also_where_none_is_needed() -> None:
    async with authorizing("grpcio", WRITER) as (address, _):
        for token in ("nobody's", " "):
            async with connected(address, token) as client:
                for name, call in calls(client, "main").items():
                    assert await code_of(call()) is grpc.StatusCode.UNAUTHENTICATED, name


async def test_a_token_says_who_calls_also_where_none_is_needed() -> None:
    async with authorizing("grpcio", READER) as (address, _):
        for verb in Verb:
            async with connected(address, verb.value) as client:
                for name, call in calls(client, "main").items():
                    is_denied = await code_of(call()) is grpc.StatusCode.PERMISSION_DENIED
                    assert is_denied == (METHODS[name].verb is not verb), (verb, name)


async def test_no_method_reaches_an_instance_that_the_server_does_not_have(served: Any) -> None:
    address, ended = served
    for name, method in METHODS.items():
        async with connected(address, method.verb.value) as client:
            call = calls(client, "other")[name]()
            assert await code_of(call) is grpc.StatusCode.INVALID_ARGUMENT, name
    assert all(event.context is None for event in ended)


async def test_the_context_of_a_call_has_principal_instance_and_metadata(served: Any) -> None:
    address, ended = served
    async with connected(address, "read") as client:
        client.headers = [*client.headers, *METADATA]
        await code_of(calls(client, "main")["ContentAddressableStorage/FindMissingBlobs"]())
    context = ended[-1].context
    assert context.principal == Principal("read", frozenset({Verb.READ}), "")
    assert context.instance == "main"
    assert context.metadata == (
        *("bazel", "7.1", "an invocation", "an action", "a pipeline"),
        *("CppCompile", "//a:b", "a configuration"),
    )


METADATA = [
    (
        "build.bazel.remote.execution.v2.requestmetadata-bin",
        (
            b"\n\x0c\n\x05bazel\x12\x037.1\x12\tan action\x1a\ran invocation\x22\na pipeline"
            b"\x2a\nCppCompile\x32\x05//a:b\x3a\x0fa configuration"
        ),
    )
]
