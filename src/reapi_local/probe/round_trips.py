"""Proofs that a server works: a gRPC client makes real round trips to its address."""

from __future__ import annotations

import secrets
import time
import uuid
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

import grpc
from google.longrunning import operations_pb2

from reapi_contract import proof
from reapi_contract.proof import Proof
from reapi_local.context import METADATA_HEADERS, SELF_CHECK
from reapi_local.errors import Code
from reapi_local.proto import bytestream_pb2
from reapi_local.proto import remote_execution_pb2 as re_pb2
from reapi_local.protocol.digest import digest_of

_PACKAGE: Final = "build.bazel.remote.execution.v2"
_OURSELVES: Final = re_pb2.RequestMetadata(tool_details=re_pb2.ToolDetails(tool_name=SELF_CHECK))
_TIMEOUT_SECONDS: Final = 10.0
_WRONG_ANSWER: Final = "the server's answer is wrong; its log may say why"
_CERTIFICATE: Final = (
    "the certificate must be valid now, and name the host by which clients call the server"
)
_REMEDIES: Final[Mapping[int, str]] = {
    Code.INVALID_ARGUMENT: "use an instance that this server has",
    Code.RESOURCE_EXHAUSTED: proof.NO_ROOM,
}
_ASK: Final = "ask the server's administrator"
_REMEDIES_ELSEWHERE: Final[Mapping[int, str]] = {
    Code.INVALID_ARGUMENT: f"{_ASK} which instance names it has",
    Code.UNAUTHENTICATED: f"{_ASK} for the right token",
    Code.PERMISSION_DENIED: f"{_ASK} for the permission, or do without it",
    Code.RESOURCE_EXHAUSTED: f"{_ASK} for more space",
    Code.UNAVAILABLE: f"{_ASK} whether it is up, and whether it uses TLS (grpcs://)",
}
_NO_TOKEN: Final = f"{_ASK} for the token, and name the file that holds the token"
_NOT_TRUSTED: Final = (
    "name the file of the authorities to trust, as ca_certs_path, and call the server by a name "
    "that is in its certificate"
)


_NO_STATUS: Final = (
    "BatchReadBlobs answers with a blob that has no `status`; Pants 2.28 and later take that for "
    "an error if `remote_store_batch_load_enabled` is set, so that nearly every hit becomes a miss"
)
_NO_BATCHES: Final = (
    "leave `remote_store_batch_load_enabled` off with this server, until it sets `status` in every "
    "item of a batch"
)


class _Failed(Exception):
    """The call succeeded, but its answer isn't the expected one.

    ``remedy``: "" = the usual one for ``code``.
    """

    def __init__(self, detail: str, code: int = Code.INTERNAL, remedy: str = "") -> None:
        super().__init__(detail)
        self.code, self.remedy = code, remedy


@dataclass(frozen=True)
class Client:
    """How to reach a server at ``address`` (host:port).

    ``token``: "" = none is sent. ``tls``: None = no TLS. ``called``: the host that the certificate
    must be for, "" = that of the address.
    """

    address: str
    token: str = ""
    tls: grpc.ChannelCredentials | None = None
    called: str = ""

    def channel(self) -> grpc.aio.Channel:
        # Otherwise gRPC would go through the proxy that the environment names.
        options: list[tuple[str, int | str]] = [("grpc.enable_http_proxy", 0)]
        if self.tls is None:
            return grpc.aio.insecure_channel(self.address, options)
        if self.called:
            options.append(("grpc.ssl_target_name_override", self.called))
        return grpc.aio.secure_channel(self.address, self.tls, options)


class RoundTrips:
    """Tries a server as a client of ``instance``.

    ``is_own``: the server checks itself, and its actions run in ``sandbox``; ``token_is_needed``: a
    call without the token must fail. On somebody else's server no action is executed, and calls
    without the token are not tried.
    """

    def __init__(
        self,
        client: Client,
        instance: str,
        *,
        is_own: bool,
        sandbox: str = "",
        token_is_needed: bool = True,
    ) -> None:
        self._client, self._instance = client, instance
        self._is_own, self._sandbox = is_own, sandbox
        self._token_is_needed = is_own and token_is_needed
        self._anonymous = ((METADATA_HEADERS[0], _OURSELVES.SerializeToString()),)
        bearer = (("authorization", f"Bearer {client.token}"),) if client.token else ()
        self._headers = (*self._anonymous, *bearer)
        self._content = secrets.token_bytes(64)
        self._digest = _message(self._content)
        self._executes = False
        self._may_write = True
        self._has_written = False

    async def run(self) -> list[Proof]:
        """All proofs, in the order a client would meet them."""
        async with self._client.channel() as self._channel:
            proofs = [await self._prove(proof.CAPABILITIES, self._capabilities)]
            if not self._is_own and not proofs[0].ok:
                return proofs
            if self._may_write:
                proofs.append(await self._prove(proof.BLOB, self._blob))
            if self._has_written:
                proofs.append(await self._prove(proof.ACTION_RESULT, self._action_result))
            proofs.append(await self._prove(proof.INSTANCE, self._instance_is_served))
            if self._token_is_needed:
                proofs.append(await self._prove(proof.TOKEN, self._refused_without_token))
            # Where no blob can be written, that is the one thing to tell.
            if self._is_own and self._executes and self._has_written:
                proofs.append(await self._prove(proof.EXECUTION, self._execution))
            return proofs

    async def _prove(self, name: str, attempt: Callable[[], Awaitable[str]]) -> Proof:
        began = time.perf_counter()
        try:
            detail, remedy = await attempt(), ""
        except grpc.aio.AioRpcError as error:
            detail = f"{error.code().name}: {error.details()}"
            remedy = self._remedy(error.code().value[0], error.details() or "")
        except _Failed as error:
            detail, remedy = str(error), error.remedy or self._remedy(error.code)
        return Proof(name, not remedy, 1000 * (time.perf_counter() - began), detail, remedy)

    def _remedy(self, code: int, detail: str = "") -> str:
        if not self._is_own:
            if code == Code.UNAUTHENTICATED and not self._client.token:
                return _NO_TOKEN
            if code == Code.UNAVAILABLE and "CERTIFICATE_VERIFY_FAILED" in detail:
                return _NOT_TRUSTED
            return _REMEDIES_ELSEWHERE.get(code, _ASK)
        if code == Code.INTERNAL:
            return _WRONG_ANSWER
        if code == Code.UNAVAILABLE and self._client.called:
            return f"{_CERTIFICATE}; the host here is {self._client.called}"
        return _REMEDIES.get(code, proof.RESTART)

    async def _call(self, method: str, request: Any, response: Any, **more: Any) -> Any:
        call = self._channel.unary_unary(
            f"/{_PACKAGE}.{method}",
            request_serializer=type(request).SerializeToString,
            response_deserializer=response.FromString,
        )
        more.setdefault("metadata", self._headers)
        return await call(request, timeout=_TIMEOUT_SECONDS, **more)

    async def _capabilities(self) -> str:
        answer = await self._call(
            "Capabilities/GetCapabilities",
            re_pb2.GetCapabilitiesRequest(instance_name=self._instance),
            re_pb2.ServerCapabilities,
        )
        functions = answer.cache_capabilities.digest_functions
        if re_pb2.DigestFunction.SHA256 not in functions:
            raise _Failed("SHA-256 isn't among the digest functions")
        self._executes = answer.execution_capabilities.exec_enabled
        low, high = answer.low_api_version, answer.high_api_version
        versions = f"REAPI {low.major}.{low.minor} to {high.major}.{high.minor}"
        self._may_write = answer.cache_capabilities.action_cache_update_capabilities.update_enabled
        return versions if self._may_write else f"{versions}, for this client to read only"

    async def _write(self, *blobs: bytes) -> None:
        written = await self._call(
            "ContentAddressableStorage/BatchUpdateBlobs",
            re_pb2.BatchUpdateBlobsRequest(
                instance_name=self._instance,
                requests=[{"digest": _message(blob), "data": blob} for blob in blobs],
            ),
            re_pb2.BatchUpdateBlobsResponse,
        )
        for response in written.responses:
            if response.status.code:
                raise _Failed(response.status.message, response.status.code)

    async def _blob(self) -> str:
        """Writes and reads as clients do: small blobs in a batch, others as a stream.

        New releases of Pants read in a batch, old ones as a stream.
        """
        await self._write(self._content)
        self._has_written = True
        batch = await self._call(
            "ContentAddressableStorage/BatchReadBlobs",
            re_pb2.BatchReadBlobsRequest(instance_name=self._instance, digests=[self._digest]),
            re_pb2.BatchReadBlobsResponse,
        )
        for response in batch.responses:
            if not response.HasField("status"):
                raise _Failed(_NO_STATUS, remedy=_NO_BATCHES)
            if response.status.code:
                raise _Failed(response.status.message, response.status.code)
        _expect([response.data for response in batch.responses], [self._content])
        _expect(await self._read_stream(), self._content)
        await self._write_stream(secrets.token_bytes(len(self._content)))
        return f"{len(self._content)} bytes written and read back"

    async def _write_stream(self, content: bytes) -> None:
        write = self._channel.stream_unary(
            "/google.bytestream.ByteStream/Write",
            request_serializer=bytestream_pb2.WriteRequest.SerializeToString,
            response_deserializer=bytestream_pb2.WriteResponse.FromString,
        )
        digest = _message(content)
        name = f"uploads/{uuid.uuid4()}/blobs/{digest.hash}/{digest.size_bytes}"
        message = bytestream_pb2.WriteRequest(
            resource_name=f"{self._instance}/{name}" if self._instance else name,
            data=content,
            finish_write=True,
        )
        answer = await write(iter([message]), timeout=_TIMEOUT_SECONDS, metadata=self._headers)
        _expect(answer.committed_size, len(content))

    async def _read_stream(self) -> bytes:
        read = self._channel.unary_stream(
            "/google.bytestream.ByteStream/Read",
            request_serializer=bytestream_pb2.ReadRequest.SerializeToString,
            response_deserializer=bytestream_pb2.ReadResponse.FromString,
        )
        name = f"blobs/{self._digest.hash}/{self._digest.size_bytes}"
        request = bytestream_pb2.ReadRequest(
            resource_name=f"{self._instance}/{name}" if self._instance else name
        )
        stream = read(request, timeout=_TIMEOUT_SECONDS, metadata=self._headers)
        return b"".join([message.data async for message in stream])

    async def _action_result(self) -> str:
        result = re_pb2.ActionResult(stdout_digest=self._digest)
        await self._call(
            "ActionCache/UpdateActionResult",
            re_pb2.UpdateActionResultRequest(
                instance_name=self._instance, action_digest=self._digest, action_result=result
            ),
            re_pb2.ActionResult,
        )
        answer = await self._call(
            "ActionCache/GetActionResult",
            re_pb2.GetActionResultRequest(instance_name=self._instance, action_digest=self._digest),
            re_pb2.ActionResult,
        )
        _expect(answer, result)
        return "written and read back"

    async def _instance_is_served(self) -> str:
        request = re_pb2.FindMissingBlobsRequest(
            instance_name=self._instance, blob_digests=[self._digest]
        )
        answer = await self._call(
            "ContentAddressableStorage/FindMissingBlobs", request, re_pb2.FindMissingBlobsResponse
        )
        _expect(len(answer.missing_blob_digests), 0 if self._has_written else 1)
        return self._instance or "(the unnamed one)"

    async def _execution(self) -> str:
        """Runs a program of this machine in the sandbox, with an empty input root."""
        word = secrets.token_hex(8)
        root = re_pb2.Directory().SerializeToString()
        command = re_pb2.Command(arguments=["/bin/sh", "-c", f"echo {word}"]).SerializeToString()
        action = re_pb2.Action(
            command_digest=_message(command), input_root_digest=_message(root), do_not_cache=True
        ).SerializeToString()
        await self._write(root, command, action)
        execute = self._channel.unary_stream(
            f"/{_PACKAGE}.Execution/Execute",
            request_serializer=re_pb2.ExecuteRequest.SerializeToString,
            response_deserializer=operations_pb2.Operation.FromString,
        )
        request = re_pb2.ExecuteRequest(
            instance_name=self._instance,
            action_digest=_message(action),
            skip_cache_lookup=True,
            inline_stdout=True,
        )
        stream = execute(request, timeout=_TIMEOUT_SECONDS, metadata=self._headers)
        operations = [operation async for operation in stream]
        response = re_pb2.ExecuteResponse()
        if not operations or not operations[-1].response.Unpack(response):
            raise _Failed("the execution ended without a response")
        if response.status.code:
            raise _Failed(response.status.message, response.status.code)
        _expect(response.result.stdout_raw, f"{word}\n".encode())
        return f"a program was run, sandbox: {self._sandbox}"

    async def _refused_without_token(self) -> str:
        request = re_pb2.GetCapabilitiesRequest(instance_name=self._instance)
        method = "Capabilities/GetCapabilities"
        try:
            await self._call(method, request, re_pb2.ServerCapabilities, metadata=self._anonymous)
        except grpc.aio.AioRpcError as error:
            _expect(error.code(), grpc.StatusCode.UNAUTHENTICATED)
            return "a call without it is refused"
        raise _Failed("a call without the token was answered")


def _message(data: bytes) -> re_pb2.Digest:
    digest = digest_of(data)
    return re_pb2.Digest(hash=digest.hash_hex, size_bytes=digest.size_bytes)


def _expect(actual: object, expected: object) -> None:
    if actual != expected:
        raise _Failed(f"expected {expected!r:.100}, got {actual!r:.100}")
