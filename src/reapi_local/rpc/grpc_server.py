"""The gRPC server: services from their descriptors, on one of two transports.

``native`` (pygrpc-native) does HTTP/2 outside the interpreter lock and needs a third of the CPU for
small calls; ``grpcio`` works everywhere. Handlers and tests are the same for both.

``native`` serves methods with one request. A method with a stream of requests goes to a grpcio
server behind it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Mapping
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, Final

import grpc
from google.longrunning import operations_pb2
from google.protobuf.descriptor import Descriptor, MethodDescriptor, ServiceDescriptor
from google.protobuf.message import DecodeError, Message
from google.protobuf.message_factory import GetMessageClass

from reapi_local.config.schema import Transport
from reapi_local.errors import InvalidRequest
from reapi_local.proto import bytestream_pb2, remote_execution_pb2
from reapi_local.rpc import health
from reapi_local.rpc.grpcio_log import leave_out_faults_of_clients
from reapi_local.rpc.interceptor import Interceptor
from reapi_local.rpc.methods import METHODS
from reapi_local.rpc.reflection import SERVICE_NAMES, add_reflection

if TYPE_CHECKING:
    from reapi_local.rpc.native_server import NativeServer

_MAX_STREAMS: Final = 1024
_MAX_PENDING: Final = 1_000_000

_OPTIONS: Final = (
    ("grpc.max_concurrent_streams", _MAX_STREAMS),
    # Who connects and sends nothing is hung up on, by default after two minutes only.
    ("grpc.server_handshake_timeout_ms", 20_000),
    # When calls come faster than they are accepted, grpcio cancels some, whoever makes them, from a
    # thousand on.
    ("grpc.server.max_pending_requests", _MAX_PENDING),
    ("grpc.server.max_pending_requests_hard_limit", _MAX_PENDING),
    # Clients may ping as often as they like while an action runs silently. By default grpcio hangs
    # up if they do so more than every five minutes; pygrpc-native never does.
    ("grpc.http2.max_ping_strikes", 0),
    # Only "identity" (bit 0): a message of 1 MiB that is compressed with gzip can have 1 GiB.
    ("grpc.compression_enabled_algorithms_bitset", 1),
)


_OFFERED: Final = (
    *("ActionCache", "ByteStream", "Capabilities", "ContentAddressableStorage"),
    *("Execution", "Operations"),
)


class GrpcServer:
    """Services by the short names of their descriptors, plus health and reflection.

    A method that a service object lacks is answered with UNIMPLEMENTED. ``tokens``: those that the
    native transport lets pass. Which of them is right, or worth what, the interceptor decides.
    ``reuse_port``: whether other sockets of this user that want it, too, can be bound to the same
    port (SO_REUSEPORT).
    """

    def __init__(
        self,
        interceptor: Interceptor,
        services: Mapping[str, object],
        transport: Transport,
        socket_directory: str,
        tokens: Collection[str],
        *,
        reuse_port: bool = False,
    ) -> None:
        self._interceptor = interceptor
        self._socket = f"unix:{socket_directory}/grpcio.sock"
        handlers = {
            f"/{full_name}/{method.name}": _handler(
                interceptor, descriptor.name, method, services[descriptor.name]
            )
            for full_name, descriptor in _descriptors().items()
            for method in descriptor.methods
            if hasattr(services[descriptor.name], method.name)
        }
        limit = interceptor.in_flight.largest_bytes
        self._native = (
            _native(handlers, tokens, limit, reuse_port) if is_native(transport) else None
        )
        leave_out_faults_of_clients()
        self._grpcio = grpc.aio.server(
            options=[
                *_OPTIONS,
                ("grpc.max_receive_message_length", limit),
                ("grpc.max_send_message_length", limit),
                ("grpc.so_reuseport", int(reuse_port)),
            ]
        )
        self._grpcio.add_generic_rpc_handlers((_Generic(handlers),))
        self._names = (*_descriptors(), health.SERVICE_NAME, *SERVICE_NAMES)
        add_reflection(self._names, self._grpcio, interceptor)
        self._health = health.Health(interceptor)
        self._health.add_to(self._grpcio)

    def bind(self, address: str, credentials: grpc.ServerCredentials | None = None) -> int:
        """Listen on ``address`` (host:port, port 0 = any); returns the port.

        ``credentials``: None = no TLS. Only grpcio has TLS.

        Raises:
            RuntimeError: the address can't be used.
        """
        if self._native is not None:
            port = self._native.bind(address)
            self._grpcio.add_insecure_port(self._socket)
            return port
        if credentials is not None:
            return self._grpcio.add_secure_port(address, credentials)
        return self._grpcio.add_insecure_port(address)

    async def start(self) -> None:
        """Start to serve calls."""
        await self._grpcio.start()
        if self._native is not None:
            self._native.start(self._socket.removeprefix("unix:"))
        await self._health.serving(self._names)

    async def stop(self, grace_seconds: float) -> None:
        """Refuse new calls, and give calls in flight ``grace_seconds`` to finish."""
        self._interceptor.drain()
        await self._health.stopping()
        if self._native is None:
            await self._grpcio.stop(grace_seconds)
            return
        await asyncio.gather(self._grpcio.stop(grace_seconds), self._native.finish(grace_seconds))
        await self._native.close()


class _Generic(grpc.GenericRpcHandler):  # type: ignore[type-arg]  # generic in its stubs alone
    """Handlers by path, in the form that both transports pass to grpcio."""

    def __init__(self, handlers: Mapping[str, grpc.RpcMethodHandler[Any, Any]]) -> None:
        self._handlers = {path: _headers_first(handler) for path, handler in handlers.items()}

    def service(
        self, handler_call_details: grpc.HandlerCallDetails
    ) -> grpc.RpcMethodHandler[Any, Any] | None:
        return self._handlers.get(handler_call_details.method)


def _descriptors() -> dict[str, ServiceDescriptor]:
    """The services offered, by full name."""
    files = (
        remote_execution_pb2.DESCRIPTOR,
        bytestream_pb2.DESCRIPTOR,
        operations_pb2.DESCRIPTOR,
    )
    every = [service for file in files for service in file.services_by_name.values()]
    return {service.full_name: service for service in every if service.name in _OFFERED}


def is_native(transport: Transport) -> bool:
    """Whether a server with this setting uses pygrpc-native."""
    if transport == "auto":
        return find_spec("pygrpc_native") is not None
    return transport == "native"


def _native(
    handlers: Mapping[str, grpc.RpcMethodHandler[Any, Any]],
    tokens: Collection[str],
    max_message_bytes: int,
    reuse_port: bool,
) -> NativeServer:
    """It serves the methods with one request; the others stay with grpcio."""
    from reapi_local.rpc.native_server import NativeServer

    with_one_request = {path: h for path, h in handlers.items() if not h.request_streaming}
    limits = max_message_bytes, _MAX_STREAMS
    return NativeServer(with_one_request, tokens, *limits, reuse_port)


def _headers_first(
    handler: grpc.RpcMethodHandler[Any, Any],
) -> grpc.RpcMethodHandler[Any, Any]:
    """The same handler, called when the headers are there, before any of the request is read.

    grpcio reads the whole request of a method with one request, and calls the handler then. It
    leaves reading to the handler if there may be many; on the wire the two are the same.
    """
    if handler.request_streaming:
        return handler
    if handler.response_streaming:
        many: Any = handler.unary_stream
        return grpc.stream_stream_rpc_method_handler(many, None, handler.response_serializer)
    one: Any = handler.unary_unary
    return grpc.stream_unary_rpc_method_handler(one, None, handler.response_serializer)


def _handler(
    interceptor: Interceptor, service: str, descriptor: MethodDescriptor, implementation: object
) -> grpc.RpcMethodHandler[Any, Any]:
    handle = getattr(implementation, descriptor.name)
    method = METHODS[f"{service}/{descriptor.name}"]
    parse = _parser(descriptor.input_type)
    if descriptor.server_streaming:
        many = interceptor.server_streaming(method, handle, parse)
        return grpc.unary_stream_rpc_method_handler(many, None, _serialize)
    if descriptor.client_streaming:
        one = interceptor.client_streaming(method, handle, parse)
        return grpc.stream_unary_rpc_method_handler(one, None, _serialize)
    unary = interceptor.unary(method, handle, parse)
    return grpc.unary_unary_rpc_method_handler(unary, None, _serialize)


def _parser(message: Descriptor) -> Callable[[bytes], Message]:
    from_string = GetMessageClass(message).FromString

    def parse(serialized: bytes) -> Message:
        try:
            return from_string(serialized)
        except DecodeError as error:
            raise InvalidRequest(f"the request can't be decoded: {error}") from error

    return parse


def _serialize(response: Any) -> bytes:
    """Stored action results are bytes already."""
    return response if isinstance(response, bytes) else response.SerializeToString()
