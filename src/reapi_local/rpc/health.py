"""Whether the server serves, for probes, which mostly have no token.

Source: grpc.health.v1.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

import grpc
from google.protobuf.message import DecodeError
from grpc_health.v1 import _async, health_pb2

from reapi_local.rpc.interceptor import GrpcCall, Interceptor

SERVICE_NAME: Final = "grpc.health.v1.Health"


class Health:
    """The health service. All names have the same status, that of the server.

    The request of a call without the token is not read, so that strangers fill no memory. Such a
    call asks about the server as a whole, which is the service "".
    """

    def __init__(self, interceptor: Interceptor) -> None:
        self._interceptor = interceptor
        self._servicer = _async.HealthServicer()

    async def serving(self, names: Iterable[str]) -> None:
        """Answer from now on that these services are there."""
        for name in ("", *names):
            await self._servicer.set(name, health_pb2.HealthCheckResponse.SERVING)

    async def stopping(self) -> None:
        """Answer from now on that they are not."""
        await self._servicer.enter_graceful_shutdown()

    def add_to(self, server: Any) -> None:
        """Serve it on a server of grpcio."""
        serialize = health_pb2.HealthCheckResponse.SerializeToString
        # On the wire both have one request. Registered so, grpcio would read it before the call.
        handlers = {
            "Check": grpc.stream_unary_rpc_method_handler(self._check, None, serialize),
            "Watch": grpc.stream_stream_rpc_method_handler(self._watch, None, serialize),
        }
        server.add_generic_rpc_handlers(
            (grpc.method_handlers_generic_handler(SERVICE_NAME, handlers),)
        )

    async def _check(self, _: object, grpc_call: GrpcCall) -> health_pb2.HealthCheckResponse:
        request = await self._request_of(grpc_call)
        answer: health_pb2.HealthCheckResponse = await self._servicer.Check(request, grpc_call)
        return answer

    async def _watch(self, _: object, grpc_call: GrpcCall) -> None:
        await self._servicer.Watch(await self._request_of(grpc_call), grpc_call)

    async def _request_of(self, grpc_call: GrpcCall) -> health_pb2.HealthCheckRequest:
        if self._interceptor.refusal(grpc_call) is not None:
            return health_pb2.HealthCheckRequest()
        message = await grpc_call.read()
        try:
            return health_pb2.HealthCheckRequest.FromString(message)
        except (DecodeError, TypeError):  # TypeError: the call ended before its first message
            await grpc_call.abort(
                grpc.StatusCode.INVALID_ARGUMENT, "the request is no HealthCheckRequest"
            )
