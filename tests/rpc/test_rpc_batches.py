"""Batches: each item has its own status, and each answer fits into what clients accept."""

from __future__ import annotations

import hashlib
import os
from typing import Any

import grpc
import pytest

from reapi_local.proto.remote_execution_pb2 import (
    ActionResult,
    BatchReadBlobsRequest,
    BatchUpdateBlobsRequest,
    Digest,
    DigestFunction,
    GetCapabilitiesRequest,
    UpdateActionResultRequest,
)
from rpc.helpers import MIB, Client, Server, blob_name, digest_of, refusal

pytestmark = pytest.mark.asyncio(loop_scope="module")

INVALID, NOT_FOUND = grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.NOT_FOUND
DEFAULT_LIMIT = 4 * MIB
"""Of gRPC clients that are told nothing else. The request of a server with that limit, too."""


@pytest.fixture
def usual(shared_server: Server) -> Client:
    """A client that accepts messages of the usual length only."""
    return shared_server.connect(options=(("grpc.max_receive_message_length", DEFAULT_LIMIT),))


def update_of(*blobs: bytes, function: int = 0) -> BatchUpdateBlobsRequest:
    requests = [
        {"digest": digest_of(b, function or DigestFunction.SHA256), "data": b} for b in blobs
    ]
    return BatchUpdateBlobsRequest(requests=requests, digest_function=function)


async def limit_of(client: Client) -> int:
    capabilities = await client.GetCapabilities(GetCapabilitiesRequest())
    return int(capabilities.cache_capabilities.max_batch_total_size_bytes)


def codes(response: Any) -> list[int]:
    """The codes of the items, each of which must have a status."""
    assert all(item.HasField("status") for item in response.responses)
    return [item.status.code for item in response.responses]


async def test_every_item_has_a_status_whatever_became_of_it(client: Client) -> None:
    small, large = os.urandom(10), os.urandom(100_000)
    digests = [digest_of(small), digest_of(large), digest_of(b"")]
    update = update_of(small, large, b"", small)
    update.requests.add(digest={"hash": "malformed"}, data=b"x")
    update.requests.add(digest=digest_of(b"x"), data=b"y")
    invalid = INVALID.value[0]
    assert codes(await client.BatchUpdateBlobs(update)) == [0, 0, 0, 0, invalid, invalid]
    assert codes(await client.BatchUpdateBlobs(update_of(small))) == [0]
    read = BatchReadBlobsRequest(digests=[*digests, digest_of(b"x"), digests[0]])
    assert codes(await client.BatchReadBlobs(read)) == [0, 0, 0, NOT_FOUND.value[0], 0]


async def test_no_room_is_made_for_content_that_is_not_there(client: Client) -> None:
    """A digest may say any size, but its content is in the request: the digest is wrong."""
    digest = Digest(hash=digest_of(b"x").hash, size_bytes=1 << 60)
    update = BatchUpdateBlobsRequest(requests=[{"digest": digest, "data": b"x"}])
    assert codes(await client.BatchUpdateBlobs(update)) == [INVALID.value[0]]
    result = ActionResult(output_files=[{"path": "a", "digest": digest, "contents": b"x"}])
    call = client.UpdateActionResult(
        UpdateActionResultRequest(action_digest=digest_of(b"an action"), action_result=result)
    )
    await refusal(call, INVALID, "received 1 bytes")


@pytest.mark.parametrize("wrong", [b"evil", b"too long"])
@pytest.mark.parametrize("order", [(0, 1), (1, 0), (1, 0, 1, 0)])
async def test_good_and_bad_content_of_one_digest_each_have_their_status(
    client: Client, order: tuple[int, ...], wrong: bytes
) -> None:
    good = os.urandom(4)
    items = [{"digest": digest_of(good), "data": (good, wrong)[which]} for which in order]
    response = await client.BatchUpdateBlobs(BatchUpdateBlobsRequest(requests=items))
    assert codes(response) == [(0, INVALID.value[0])[which] for which in order]
    assert b"".join(await client.read(blob_name(digest_of(good)))) == good


async def test_nothing_is_stored_if_one_digest_comes_with_wrong_contents_only(
    client: Client,
) -> None:
    digest = digest_of(os.urandom(4))
    items = [{"digest": digest, "data": data} for data in (b"evil", b"ugly")]
    response = await client.BatchUpdateBlobs(BatchUpdateBlobsRequest(requests=items))
    assert codes(response) == [INVALID.value[0]] * 2
    assert await client.missing(digest) == [digest]


@pytest.mark.parametrize("size", [2 * MIB, 65536, 1000, 100])
@pytest.mark.parametrize("missing", [False, True])
async def test_a_batch_of_what_is_announced_fits_the_usual_limit(
    usual: Client, size: int, missing: bool
) -> None:
    limit = await limit_of(usual)
    everything = os.urandom(limit)
    blobs = [everything[at : at + size] for at in range(0, limit, size)]
    assert sum(map(len, blobs)) == limit
    update = update_of(*blobs)
    assert update.ByteSize() <= DEFAULT_LIMIT
    if missing:
        for item in update.requests:
            item.data = item.data[:-1] + bytes(1)
    written = codes(await usual.BatchUpdateBlobs(update))
    assert sum(code != 0 for code in written) >= 0.9 * len(blobs) * missing
    read = BatchReadBlobsRequest(digests=[item.digest for item in update.requests])
    answers = (await usual.BatchReadBlobs(read)).responses
    assert [item.status.code == 0 for item in answers] == [code == 0 for code in written]
    if not missing:
        assert b"".join(item.data for item in answers) == everything


@pytest.mark.parametrize("function", [DigestFunction.SHA256, DigestFunction.SHA512])
async def test_a_batch_whose_answer_can_not_fit_is_refused_with_what_to_do(
    usual: Client, function: int
) -> None:
    """There may be little content: the digests alone are too long."""
    name = "sha256" if function == DigestFunction.SHA256 else "sha512"
    digests = [
        Digest(hash=hashlib.new(name, b"%d" % number).hexdigest(), size_bytes=1)
        for number in range(44_000)
    ]
    read = BatchReadBlobsRequest(digests=digests, digest_function=function)
    await refusal(usual.BatchReadBlobs(read), INVALID, "44000", str(DEFAULT_LIMIT), "fewer")
    items = [{"digest": digest, "data": b"x"} for digest in digests]
    update = BatchUpdateBlobsRequest(requests=items, digest_function=function)
    await refusal(usual.BatchUpdateBlobs(update), INVALID, "44000", str(DEFAULT_LIMIT), "fewer")
