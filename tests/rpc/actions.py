"""Actions made for a test, and what became of them."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Self

from google.longrunning.operations_pb2 import Operation

from patience import PATIENCE_S
from reapi_local.proto.remote_execution_pb2 import (
    Action,
    ActionResult,
    BatchUpdateBlobsRequest,
    Command,
    Digest,
    Directory,
    ExecuteOperationMetadata,
    ExecuteRequest,
    ExecuteResponse,
    ExecutionStage,
)
from rpc.helpers import Client, digest_of

CACHE_CHECK, QUEUED, EXECUTING, COMPLETED = (
    ExecutionStage.CACHE_CHECK,
    ExecutionStage.QUEUED,
    ExecutionStage.EXECUTING,
    ExecutionStage.COMPLETED,
)


@dataclass(frozen=True)
class Seen:
    """The operations a stream brought, and the response of the last one."""

    operations: Sequence[Operation]

    @property
    def name(self) -> str:
        return self.operations[0].name

    @property
    def stages(self) -> list[int]:
        return [stage_of(operation) for operation in self.operations]

    @property
    def response(self) -> ExecuteResponse:
        return response_of(self.operations[-1])

    @property
    def result(self) -> ActionResult:
        response = self.response
        assert response.status.code == 0, response.status
        return response.result


def stage_of(operation: Operation) -> int:
    metadata = ExecuteOperationMetadata()
    assert operation.metadata.Unpack(metadata)
    return metadata.stage


def response_of(operation: Operation) -> ExecuteResponse:
    assert operation.done
    response = ExecuteResponse()
    assert operation.response.Unpack(response)
    assert response.HasField("status"), "also of a success"
    return response


def action_blobs(
    command: Command, files: Mapping[str, str | bytes] | None = None, **more: Any
) -> tuple[bytes, list[bytes]]:
    """An action on these files, all of them executable, and every blob it needs."""
    contents = {
        name: data.encode() if isinstance(data, str) else data
        for name, data in sorted((files or {}).items())
    }
    root = Directory(
        files=[
            {"name": name, "digest": digest_of(data), "is_executable": True}
            for name, data in contents.items()
        ]
    ).SerializeToString()
    serialized = command.SerializeToString()
    action = Action(
        command_digest=digest_of(serialized), input_root_digest=digest_of(root), **more
    ).SerializeToString()
    return action, [action, serialized, root, *contents.values()]


async def upload(client: Client, blobs: Sequence[bytes], instance: str = "") -> None:
    requests = [{"digest": digest_of(blob), "data": blob} for blob in blobs]
    answer = await client.BatchUpdateBlobs(
        BatchUpdateBlobsRequest(instance_name=instance, requests=requests)
    )
    assert not any(response.status.code for response in answer.responses)


async def make(
    client: Client,
    *arguments: str,
    files: Mapping[str, str | bytes] | None = None,
    outputs: Sequence[str] = (),
    action: Mapping[str, Any] | None = None,
    instance: str = "",
    **command: Any,
) -> Digest:
    """Upload an action; returns its digest."""
    asked = Command(arguments=arguments, output_paths=outputs, **command)
    serialized, blobs = action_blobs(asked, files, **(action or {}))
    await upload(client, blobs, instance)
    return digest_of(serialized)


async def shell(client: Client, script: str, **more: Any) -> Digest:
    """Upload an action that runs a shell script."""
    return await make(client, "/bin/sh", "-c", script, **more)


async def execute(client: Client, action: Digest, **request: Any) -> Seen:
    """Execute it to its end."""
    stream = client.Execute(ExecuteRequest(action_digest=action, **request))
    return Seen([operation async for operation in stream])


async def until(stream: Any, stage: int) -> Operation:
    """The first operation of a stream that is at this stage."""
    async for operation in stream:
        if stage_of(operation) == stage:
            found: Operation = operation
            return found
    raise AssertionError(f"the stream ended before stage {stage}")


NETWORK: dict[str, Any] = {"platform": {"properties": [{"name": "network", "value": "on"}]}}


class Gate:
    """Where actions wait: each one that comes is seen, and goes on when it is let through."""

    def __init__(self) -> None:
        self._came: asyncio.Queue[tuple[asyncio.StreamReader, asyncio.StreamWriter]]
        self._came = asyncio.Queue()
        self._server: asyncio.Server | None = None
        self._writers: list[asyncio.StreamWriter] = []

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._arrive, "127.0.0.1", 0)
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._server is not None
        self._server.close()
        for writer in self._writers:
            writer.close()
            with suppress(ConnectionError):
                await writer.wait_closed()

    async def _arrive(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.append(writer)
        self._came.put_nowait((reader, writer))

    @property
    def come(self) -> str:
        """For bash: come. What is read from descriptor 3 then is what was said."""
        assert self._server is not None
        port = self._server.sockets[0].getsockname()[1]
        return f"exec 3<>/dev/tcp/127.0.0.1/{port} || exit 9"

    @property
    def script(self) -> str:
        """For bash: come, wait to be let through, then print what was said."""
        return f"{self.come}; echo came; read -r word <&3; echo $word"

    async def visitor(self) -> Visitor:
        """The next one that comes."""
        async with asyncio.timeout(PATIENCE_S):
            return Visitor(*await self._came.get())

    @property
    def waiting(self) -> int:
        """How many came and weren't asked for yet."""
        return self._came.qsize()


@dataclass(frozen=True)
class Visitor:
    """An action that waits."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    def let_through(self, word: str = "go") -> None:
        self.writer.write(f"{word}\n".encode())

    async def is_gone(self) -> bool:
        """Wait until its process is no more."""
        async with asyncio.timeout(PATIENCE_S):
            return await self.reader.read() == b""


async def gated(client: Client, gate: Gate, **more: Any) -> Digest:
    """Upload an action that waits at the gate."""
    return await make(client, "/bin/bash", "-c", gate.script, **{**NETWORK, **more})
