"""Calls to a server in the name of its user, for one instance."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Final, TypeVar

import grpc
from google.longrunning import operations_pb2
from google.protobuf.message import Message

from reapi_local.context import METADATA_HEADERS, SELF_CHECK
from reapi_local.errors import ReapiError
from reapi_local.probe.round_trips import Client
from reapi_local.proto import bytestream_pb2
from reapi_local.proto import remote_execution_pb2 as re_pb2
from reapi_local.protocol.digest import Digest, DigestFunction

_PACKAGE: Final = "build.bazel.remote.execution.v2"
_TIMEOUT_SECONDS: Final = 120.0
_A = TypeVar("_A", bound=Message)


class CallFailed(ReapiError):
    """The server answered a call with an error. ``status``: its gRPC status code."""

    def __init__(self, message: str, status: grpc.StatusCode) -> None:
        super().__init__(message)
        self.status = status


class Connection:
    """Calls over an open channel. Its calls don't count as those of a build.

    All methods raise CallFailed.
    """

    def __init__(self, channel: grpc.aio.Channel, token: str, instance: str) -> None:
        self._channel, self._instance = channel, instance
        self._bearer = (("authorization", f"Bearer {token}"),) if token else ()

    async def find_missing(self, digests: list[Digest]) -> re_pb2.FindMissingBlobsResponse:
        return await self._call(
            "ContentAddressableStorage/FindMissingBlobs",
            re_pb2.FindMissingBlobsRequest(
                instance_name=self._instance,
                blob_digests=map(message_of, digests),
                digest_function=_number(*digests[:1]),
            ),
            re_pb2.FindMissingBlobsResponse,
        )

    async def read_batch(self, digests: list[Digest]) -> re_pb2.BatchReadBlobsResponse:
        return await self._call(
            "ContentAddressableStorage/BatchReadBlobs",
            re_pb2.BatchReadBlobsRequest(
                instance_name=self._instance,
                digests=map(message_of, digests),
                digest_function=_number(*digests[:1]),
            ),
            re_pb2.BatchReadBlobsResponse,
        )

    async def write(self, digest: Digest, data: bytes) -> None:
        """Upload one small blob."""
        answer = await self._call(
            "ContentAddressableStorage/BatchUpdateBlobs",
            re_pb2.BatchUpdateBlobsRequest(
                instance_name=self._instance,
                requests=[{"digest": message_of(digest), "data": data}],
                digest_function=_number(digest),
            ),
            re_pb2.BatchUpdateBlobsResponse,
        )
        for response in answer.responses:
            if response.status.code:
                raise CallFailed(response.status.message, grpc.StatusCode.UNKNOWN)

    async def read_stream(self, digest: Digest, offset: int, limit: int) -> AsyncIterator[bytes]:
        read = self._channel.unary_stream(
            "/google.bytestream.ByteStream/Read",
            request_serializer=bytestream_pb2.ReadRequest.SerializeToString,
            response_deserializer=bytestream_pb2.ReadResponse.FromString,
        )
        function = "blake3" if digest.function is DigestFunction.BLAKE3 else ""
        parts = (self._instance, "blobs", function, digest.hash_hex, str(digest.size_bytes))
        request = bytestream_pb2.ReadRequest(
            resource_name="/".join(filter(None, parts)), read_offset=offset, read_limit=limit
        )
        try:
            async for message in read(request, metadata=self._headers(SELF_CHECK)):
                yield message.data
        except grpc.aio.AioRpcError as error:
            raise _failed(error) from error

    async def cached_result(self, action: Digest) -> re_pb2.ActionResult | None:
        """The result in the action cache; None if there is none that is complete."""
        try:
            return await self._call(
                "ActionCache/GetActionResult",
                re_pb2.GetActionResultRequest(
                    instance_name=self._instance,
                    action_digest=message_of(action),
                    digest_function=_number(action),
                ),
                re_pb2.ActionResult,
            )
        except CallFailed as error:
            if error.status is grpc.StatusCode.NOT_FOUND:
                return None
            raise

    async def execute(self, action: Digest, tool: str) -> re_pb2.ExecuteResponse:
        """Execute an action without the cache. ``tool``: in whose name, which gives its profile."""
        execute = self._channel.unary_stream(
            f"/{_PACKAGE}.Execution/Execute",
            request_serializer=re_pb2.ExecuteRequest.SerializeToString,
            response_deserializer=operations_pb2.Operation.FromString,
        )
        request = re_pb2.ExecuteRequest(
            instance_name=self._instance,
            action_digest=message_of(action),
            digest_function=_number(action),
            skip_cache_lookup=True,
        )
        response = re_pb2.ExecuteResponse()
        try:
            async for operation in execute(request, metadata=self._headers(tool)):
                if operation.done:
                    operation.response.Unpack(response)
        except grpc.aio.AioRpcError as error:
            raise _failed(error) from error
        return response

    async def _call(self, method: str, request: Message, answer: type[_A]) -> _A:
        call: Any = self._channel.unary_unary(
            f"/{_PACKAGE}.{method}",
            request_serializer=type(request).SerializeToString,
            response_deserializer=answer.FromString,
        )
        try:
            got: _A = await call(
                request, timeout=_TIMEOUT_SECONDS, metadata=self._headers(SELF_CHECK)
            )
        except grpc.aio.AioRpcError as error:
            raise _failed(error) from error
        return got

    def _headers(self, tool: str) -> tuple[tuple[str, str | bytes], ...]:
        return ((METADATA_HEADERS[0], metadata_of(tool)), *self._bearer)


@asynccontextmanager
async def connected(client: Client, instance: str) -> AsyncIterator[Connection]:
    """A connection that is open within the block."""
    async with client.channel() as channel:
        yield Connection(channel, client.token, instance)


def metadata_of(tool: str) -> bytes:
    """The encoded RequestMetadata of a tool."""
    details = re_pb2.ToolDetails(tool_name=tool)
    return re_pb2.RequestMetadata(tool_details=details).SerializeToString()


def message_of(digest: Digest) -> re_pb2.Digest:
    return re_pb2.Digest(hash=digest.hash_hex, size_bytes=digest.size_bytes)


def _number(*digests: Digest) -> re_pb2.DigestFunction.Value:
    """The function of the digests of a request, by its number in REAPI."""
    function = digests[0].function if digests else DigestFunction.SHA256
    return getattr(re_pb2.DigestFunction, function.name)  # type: ignore[no-any-return]


def _failed(error: grpc.aio.AioRpcError) -> CallFailed:
    status = error.code()
    return CallFailed(f"{status.name}: {error.details()}", status)
