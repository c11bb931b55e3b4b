"""A server that stores nothing: ``python nothing.py PORT``. What Pants takes with it is Pants' own.

It has the transport of ours, takes every upload as it comes, and says of every result that it has
none.
"""

from __future__ import annotations

import asyncio
import sys
from typing import Any

import grpc
import pygrpc_native.aio

from reapi_local.proto import remote_execution_pb2 as re_pb2

_PACKAGE = "build.bazel.remote.execution.v2"
_CAPABILITIES = re_pb2.ServerCapabilities(
    cache_capabilities={
        "digest_functions": ["SHA256"],
        "action_cache_update_capabilities": {"update_enabled": True},
        "max_batch_total_size_bytes": 4 * 1024 * 1024,
    },
    low_api_version={"major": 2},
    high_api_version={"major": 2, "minor": 2},
).SerializeToString()


async def _capabilities(_: bytes, context: Any) -> bytes:
    return _CAPABILITIES


async def _nothing(_: bytes, context: Any) -> bytes:
    return b""


async def _all_are_missing(request: bytes, context: Any) -> bytes:
    asked = re_pb2.FindMissingBlobsRequest.FromString(request)
    answer = re_pb2.FindMissingBlobsResponse(missing_blob_digests=asked.blob_digests)
    return answer.SerializeToString()


async def _none(_: bytes, context: Any) -> bytes:
    await context.abort(grpc.StatusCode.NOT_FOUND, "there is never one")
    raise AssertionError


_SERVICES = {
    "Capabilities": {"GetCapabilities": _capabilities},
    "ActionCache": {"GetActionResult": _none, "UpdateActionResult": _nothing},
    "ContentAddressableStorage": {
        "FindMissingBlobs": _all_are_missing,
        "BatchUpdateBlobs": _nothing,
    },
}


async def _main(port: int) -> None:
    server = pygrpc_native.aio.server()
    for service, methods in _SERVICES.items():
        handlers = {name: grpc.unary_unary_rpc_method_handler(do) for name, do in methods.items()}
        server.add_registered_method_handlers(f"{_PACKAGE}.{service}", handlers)
    server.add_insecure_port(f"127.0.0.1:{port}")
    await server.start()
    await server.wait_for_termination()


if __name__ == "__main__":
    asyncio.run(_main(int(sys.argv[1])))
