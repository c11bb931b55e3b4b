"""A real server on a real socket, and a client that speaks to it as any other would."""

from __future__ import annotations

import hashlib
import json
import uuid
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc
import pytest
from blake3 import blake3
from google.longrunning import operations_pb2
from google.protobuf.descriptor import MethodDescriptor
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass

from patience import PATIENCE_S
from reapi_contract.status import status_json
from reapi_local.clock import Clock
from reapi_local.compose.server import App, running
from reapi_local.config.schema import Config
from reapi_local.config.settings import config_of
from reapi_local.proto import bytestream_pb2, remote_execution_pb2
from reapi_local.proto.bytestream_pb2 import ReadRequest, WriteRequest
from reapi_local.proto.remote_execution_pb2 import Digest, DigestFunction, FindMissingBlobsRequest

MIB = 1024 * 1024
TRANSPORTS = ("grpcio", "native")

OPTIONS = (
    ("grpc.max_receive_message_length", -1),
    ("grpc.max_send_message_length", -1),
    ("grpc.enable_http_proxy", 0),
    ("grpc.use_local_subchannel_pool", 1),
)

METHODS: dict[str, MethodDescriptor] = {
    method.name: method
    for file in (
        remote_execution_pb2.DESCRIPTOR,
        bytestream_pb2.DESCRIPTOR,
        operations_pb2.DESCRIPTOR,
    )
    for service in file.services_by_name.values()
    for method in service.methods
}
OFFERED = (
    "GetCapabilities",
    "FindMissingBlobs",
    "BatchUpdateBlobs",
    "BatchReadBlobs",
    "GetTree",
    "GetActionResult",
    "UpdateActionResult",
    "Read",
    "Write",
    "QueryWriteStatus",
)

HASHERS = {
    DigestFunction.SHA256: hashlib.sha256,
    DigestFunction.SHA384: hashlib.sha384,
    DigestFunction.SHA512: hashlib.sha512,
    DigestFunction.BLAKE3: blake3,
}
FUNCTIONS = {DigestFunction.Value.Name(function): function for function in HASHERS}

Headers = Sequence[tuple[str, str | bytes]]


def digest_of(data: bytes, function: int = DigestFunction.SHA256) -> Digest:
    """Computed here and not by the server's code, which is what is under test."""
    return Digest(hash=HASHERS[function](data).hexdigest(), size_bytes=len(data))


def blob_name(digest: Digest, instance: str = "", function: str = "") -> str:
    parts = (instance, "blobs", function, digest.hash, str(digest.size_bytes))
    return "/".join(part for part in parts if part)


def upload_name(
    digest: Digest, instance: str = "", function: str = "", upload: str | None = None
) -> str:
    upload = upload or str(uuid.uuid4())
    return "/".join(
        part for part in (instance, "uploads", upload, blob_name(digest, "", function)) if part
    )


def pieces(name: str, data: bytes, size: int = MIB, start: int = 0) -> Iterator[WriteRequest]:
    """An upload in messages of ``size`` bytes, each with the resource name as Pants sends it."""
    offsets = range(start, len(data), size) or (start,)
    for offset in offsets:
        yield WriteRequest(
            resource_name=name,
            write_offset=offset,
            data=data[offset : offset + size],
            finish_write=offset + size >= len(data),
        )


class Client:
    """The methods of all services by their names: ``await client.FindMissingBlobs(request)``.

    A request given as bytes goes out as it is. ``tls``: None = no TLS.
    """

    def __init__(
        self,
        address: str,
        headers: Headers,
        options: Sequence[tuple[str, int]] = (),
        tls: grpc.ChannelCredentials | None = None,
    ) -> None:
        every = [*OPTIONS, *options]
        if tls is None:
            self.channel = grpc.aio.insecure_channel(address, options=every)
        else:
            self.channel = grpc.aio.secure_channel(address, tls, options=every)
        self.headers = headers

    def __getattr__(self, name: str) -> Any:
        method = METHODS[name]
        kinds = {
            (False, False): self.channel.unary_unary,
            (False, True): self.channel.unary_stream,
            (True, False): self.channel.stream_unary,
            (True, True): self.channel.stream_stream,
        }
        call = kinds[method.client_streaming, method.server_streaming](
            f"/{method.containing_service.full_name}/{method.name}",
            request_serializer=_serialize,
            response_deserializer=GetMessageClass(method.output_type).FromString,
        )

        def start(request: Any = None, *, metadata: Headers | None = None, **more: Any) -> Any:
            more.setdefault("timeout", PATIENCE_S)
            return call(request, metadata=self.headers if metadata is None else metadata, **more)

        return start

    async def missing(self, *digests: Digest, **more: Any) -> list[Digest]:
        response = await self.FindMissingBlobs(
            FindMissingBlobsRequest(blob_digests=digests, **more)
        )
        return list(response.missing_blob_digests)

    async def upload(self, data: bytes, **more: Any) -> Digest:
        """Write a blob by ByteStream; the answer must be that all of it is there."""
        digest = digest_of(data)
        answer = await self.Write(pieces(upload_name(digest), data, **more))
        assert answer.committed_size == len(data)
        return digest

    async def read(self, name: str, offset: int = 0, limit: int = 0) -> list[bytes]:
        """The messages of a Read."""
        request = ReadRequest(resource_name=name, read_offset=offset, read_limit=limit)
        return [response.data async for response in self.Read(request)]

    async def download(self, digest: Digest) -> bytes:
        return b"".join(await self.read(blob_name(digest)))


def _serialize(request: Message | bytes) -> bytes:
    return request if isinstance(request, bytes) else request.SerializeToString()


async def consume(call: Any) -> list[Any]:
    """The responses of a call, of whichever kind."""
    if hasattr(call, "__await__"):
        return [await call]
    return [response async for response in call]


async def refusal(call: Any, code: grpc.StatusCode, *words: str) -> str:
    """The call must end with ``code`` and a message that has all the words; returns it."""
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await consume(call)
    details = caught.value.details() or ""
    assert caught.value.code() is code, details
    for word in words:
        assert word in details
    return details


@dataclass
class Server:
    """A running server, with a client of its owner."""

    app: App
    config: Config
    clients: list[Client] = field(default_factory=list)

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.app.grpc_port}"

    @property
    def token(self) -> str:
        state: Mapping[str, Any] = json.loads(
            (Path(self.config.data_dir) / "server.json").read_text(encoding="utf-8")
        )
        return str(state["token"])

    @property
    def client(self) -> Client:
        return self.clients[0]

    async def status(self) -> dict[str, Any]:
        """What the server tells of itself, as the JSON object that it sends."""
        status: dict[str, Any] = json.loads(json.dumps(status_json(await self.app.status())))
        return status

    def connect(
        self,
        *headers: tuple[str, str | bytes],
        token: bool = True,
        options: Sequence[tuple[str, int]] = (),
        tls: grpc.ChannelCredentials | None = None,
    ) -> Client:
        """Another connection; with the token unless told otherwise."""
        authorization = [("authorization", f"Bearer {self.token}")] if token else []
        client = Client(self.address, [*authorization, *headers], options, tls)
        self.clients.append(client)
        return client


@asynccontextmanager
async def serving(
    data_dir: Path, transport: str, clock: Clock | None = None, **settings: Any
) -> AsyncIterator[Server]:
    """A server for the duration of the block. Without syncs: power losses are another subject."""
    defaults = {"sync": "relaxed", "min_free": 0, "execution": "off"}
    config = config_of({"data_dir": str(data_dir), "transport": transport, **defaults, **settings})
    async with running(config, "1.2.3+test", clock) as app:
        server = Server(app, config)
        server.connect()
        try:
            yield server
        finally:
            for client in server.clients:
                await client.channel.close()
