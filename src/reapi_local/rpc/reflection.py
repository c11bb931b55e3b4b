"""Reflection in both versions of its protocol, which differ in their names alone.

Source: grpc.reflection.v1 and grpc.reflection.v1alpha. New clients ask for v1; the library has
v1alpha only.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable
from typing import Any, Final

import grpc
from google.protobuf import descriptor_pool
from google.protobuf.descriptor_pb2 import FileDescriptorProto
from grpc_reflection.v1alpha import reflection_pb2
from grpc_reflection.v1alpha._async import ReflectionServicer

from reapi_local.rpc.interceptor import GrpcCall, Interceptor

_OLD: Final = "grpc.reflection.v1alpha"
_NEW: Final = "grpc.reflection.v1"
_METHOD: Final = "ServerReflectionInfo"
SERVICE_NAMES: Final = (f"{_NEW}.ServerReflection", f"{_OLD}.ServerReflection")


def add_reflection(names: Iterable[str], server: Any, interceptor: Interceptor) -> None:
    """Let a gRPC server describe the services ``names``, in both versions.

    A call without the token is refused before its first request is read.
    """
    _describe_new_version()
    servicer = ReflectionServicer(names)

    async def describe(
        requests: Any, grpc_call: GrpcCall
    ) -> AsyncIterator[reflection_pb2.ServerReflectionResponse]:
        if (error := interceptor.refusal(grpc_call)) is not None:
            await grpc_call.abort(grpc.StatusCode.UNAUTHENTICATED, str(error))
        async for response in servicer.ServerReflectionInfo(requests, grpc_call):
            yield response

    handler = grpc.stream_stream_rpc_method_handler(
        describe,
        request_deserializer=reflection_pb2.ServerReflectionRequest.FromString,
        response_serializer=reflection_pb2.ServerReflectionResponse.SerializeToString,
    )
    for service in SERVICE_NAMES:
        server.add_generic_rpc_handlers(
            (grpc.method_handlers_generic_handler(service, {_METHOD: handler}),)
        )


def _describe_new_version() -> None:
    """Put the description of v1 where the servicer looks for it: clients ask for all services."""
    file = FileDescriptorProto()
    reflection_pb2.DESCRIPTOR.CopyToProto(file)
    file.name = file.name.replace("v1alpha", "v1")
    file.package = _NEW
    file.ClearField("options")
    fields = [field for message in file.message_type for field in message.field]
    for field in filter(lambda field: field.type_name, fields):
        field.type_name = field.type_name.replace(_OLD, _NEW)
    for method in file.service[0].method:
        method.input_type = method.input_type.replace(_OLD, _NEW)
        method.output_type = method.output_type.replace(_OLD, _NEW)
    descriptor_pool.Default().Add(file)  # a no-op if it is there
