"""A client that has actions executed, several at a time."""

from __future__ import annotations

import os
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import blobs
import grpc
from google.longrunning import operations_pb2
from google.protobuf import struct_pb2
from load import SERVICES
from servers import Serving

from reapi_local.proto import remote_execution_pb2 as re_pb2

_MAX_IN_BATCH = 200


class ExecuteClient:
    """Calls over one connection."""

    def __init__(self, channel: grpc.aio.Channel, serving: Serving) -> None:
        self._metadata = serving.headers
        self._execute: Any = channel.unary_stream(
            f"/{SERVICES}Execution/Execute",
            re_pb2.ExecuteRequest.SerializeToString,
            operations_pb2.Operation.FromString,
        )
        self._update: Any = channel.unary_unary(
            f"/{SERVICES}ContentAddressableStorage/BatchUpdateBlobs",
            re_pb2.BatchUpdateBlobsRequest.SerializeToString,
            re_pb2.BatchUpdateBlobsResponse.FromString,
        )

    async def upload(self, content: Sequence[bytes]) -> None:
        for start in range(0, len(content), _MAX_IN_BATCH):
            request = blobs.update(content[start : start + _MAX_IN_BATCH])
            await self._update(request, metadata=self._metadata)

    async def new_actions(
        self, count: int, arguments: Sequence[str], root: re_pb2.Digest
    ) -> list[re_pb2.Digest]:
        """Actions that no cache knows, uploaded."""
        command = re_pb2.Command(arguments=arguments).SerializeToString()
        salts = [os.urandom(16) for _ in range(count)]
        actions = [
            re_pb2.Action(
                command_digest=blobs.digest_of(command), input_root_digest=root, salt=salt
            ).SerializeToString()
            for salt in salts
        ]
        await self.upload([command, *actions])
        return [blobs.digest_of(action) for action in actions]

    async def execute(self, action: re_pb2.Digest) -> re_pb2.ExecuteResponse:
        """From the call to the response, which must be a success."""
        response = re_pb2.ExecuteResponse()
        call = self._execute(re_pb2.ExecuteRequest(action_digest=action), metadata=self._metadata)
        async for operation in call:
            if operation.done:
                operation.response.Unpack(response)
        if response.status.code or response.result.exit_code or response.cached_result:
            raise SystemExit(f"an action didn't run as it should:\n{response}")
        return response

    async def timed(self, action: re_pb2.Digest) -> float:
        began = time.perf_counter()
        await self.execute(action)
        return time.perf_counter() - began


def cpu_seconds(response: re_pb2.ExecuteResponse) -> float:
    """What the action used, as its server says."""
    usage = struct_pb2.Struct()
    response.result.execution_metadata.auxiliary_metadata[0].Unpack(usage)
    names = ("user_seconds", "system_seconds")
    return sum(usage.fields[name].number_value for name in names)


@asynccontextmanager
async def connect(serving: Serving) -> AsyncIterator[ExecuteClient]:
    options = [("grpc.use_local_subchannel_pool", 1)]
    async with grpc.aio.insecure_channel(f"127.0.0.1:{serving.port}", options=options) as channel:
        yield ExecuteClient(channel, serving)
