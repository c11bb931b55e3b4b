"""What is refused when too much memory is in use, and what is done about clients that stall."""

from __future__ import annotations

import asyncio
import os
import uuid
from collections.abc import AsyncIterator
from pathlib import Path

import grpc
import pytest
import zstandard

from reapi_local.clock import ManualClock
from reapi_local.proto.bytestream_pb2 import QueryWriteStatusRequest, WriteRequest
from reapi_local.proto.remote_execution_pb2 import (
    BatchReadBlobsRequest,
    BatchUpdateBlobsRequest,
    FindMissingBlobsRequest,
)
from rpc.helpers import MIB, TRANSPORTS, Client, digest_of, refusal, serving

BUDGET = 128 * MIB
DECODERS = 4
"""A quarter of that, in windows of 8 MiB."""
EXHAUSTED = grpc.StatusCode.RESOURCE_EXHAUSTED


@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_long_messages_are_refused_beyond_the_budget_and_short_ones_are_not(
    tmp_path: Path, transport: str
) -> None:
    async with serving(tmp_path, transport, in_flight=BUDGET) as server:
        client, blob, small = server.client, os.urandom(MIB), b"small"
        digest = await client.upload(blob)
        update = BatchUpdateBlobsRequest(requests=[{"digest": digest, "data": blob}])
        read = BatchReadBlobsRequest(digests=[digest])
        for guard in server.app._guards:
            await guard.stop()
        server.app._in_flight.used_bytes = BUDGET
        for call in (client.BatchUpdateBlobs(update), client.BatchReadBlobs(read)):
            await refusal(call, EXHAUSTED, "of 128 MiB for all", "in_flight", "try again")
        assert await client.download(await client.upload(small)) == small
        assert not await client.missing(digest)
        server.app._in_flight.used_bytes = 0
        await client.BatchUpdateBlobs(update)
        [response] = (await client.BatchReadBlobs(read)).responses
        assert response.data == blob


@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_long_requests_have_memory_only_one_after_the_other(
    tmp_path: Path, transport: str
) -> None:
    async with serving(tmp_path, transport, in_flight=1024 * MIB) as server:
        names = (f"{number:064x}" for number in range(70_000))
        request = FindMissingBlobsRequest(
            blob_digests=[{"hash": name, "size_bytes": 1} for name in names]
        )
        assert request.ByteSize() > 4 * MIB
        found = await asyncio.gather(*(server.client.FindMissingBlobs(request) for _ in range(3)))
        assert [len(one.missing_blob_digests) for one in found] == [70_000] * 3


async def stalled_upload(client: Client, blob: bytes, resource: str) -> None:
    """An upload that sends all but the end, and then nothing."""
    data = zstandard.compress(blob)

    async def pieces() -> AsyncIterator[WriteRequest]:
        yield WriteRequest(resource_name=resource, data=data[: len(data) // 2])
        await asyncio.Event().wait()

    await client.Write(pieces())


@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_stalled_uploads_make_room_for_one_that_waits_and_can_be_resumed(
    tmp_path: Path, transport: str
) -> None:
    clock = ManualClock()
    async with serving(tmp_path, transport, clock, in_flight=BUDGET) as server:
        client = server.client

        def resource(blob: bytes) -> str:
            digest = digest_of(blob)
            return f"uploads/{uuid.uuid4()}/compressed-blobs/zstd/{digest.hash}/{len(blob)}"

        async def received(name: str) -> int:
            """How much of an upload has come, as soon as anything has."""
            while True:
                try:
                    status = await client.QueryWriteStatus(
                        QueryWriteStatusRequest(resource_name=name)
                    )
                except grpc.aio.AioRpcError:
                    continue
                if status.committed_size:
                    return int(status.committed_size)

        blobs = [os.urandom(2 * MIB) for _ in range(DECODERS)]
        names = [resource(blob) for blob in blobs]
        stalled = [
            asyncio.create_task(stalled_upload(client, blob, name))
            for blob, name in zip(blobs, names, strict=True)
        ]
        for name in names:
            await received(name)
        other = os.urandom(2 * MIB)
        request = WriteRequest(
            resource_name=resource(other), data=zstandard.compress(other), finish_write=True
        )
        waits = asyncio.ensure_future(client.Write([request]))
        while not server.app._byte_stream._decoders.waiting:  # noqa: ASYNC110 - has no event
            await asyncio.sleep(0)
        clock.advance(10)
        await waits
        assert not await client.missing(digest_of(other))

        ended, going_on = await asyncio.wait(stalled, return_when=asyncio.FIRST_COMPLETED)
        [one] = ended
        await refusal(one, EXHAUSTED, "stood still", "resume it")
        number = stalled.index(one)
        start = await received(names[number])
        rest = WriteRequest(
            resource_name=names[number],
            write_offset=start,
            data=zstandard.compress(blobs[number][start:]),
            finish_write=True,
        )
        going_on.pop().cancel()  # a place for it
        await client.Write([rest])
        assert not await client.missing(digest_of(blobs[number]))
        for task in going_on:
            task.cancel()
        await asyncio.gather(*stalled, return_exceptions=True)
