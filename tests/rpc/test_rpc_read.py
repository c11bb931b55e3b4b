"""ByteStream.Read, the batches, and FindMissingBlobs, under every digest function."""

from __future__ import annotations

import hashlib
import os

import grpc
import pytest

from reapi_local.proto.bytestream_pb2 import ReadRequest
from reapi_local.proto.remote_execution_pb2 import (
    ActionResult,
    BatchReadBlobsRequest,
    BatchUpdateBlobsRequest,
    Compressor,
    Digest,
    DigestFunction,
    FindMissingBlobsRequest,
    GetActionResultRequest,
    UpdateActionResultRequest,
)
from rpc.helpers import (
    FUNCTIONS,
    MIB,
    Client,
    blob_name,
    digest_of,
    pieces,
    refusal,
    upload_name,
)

pytestmark = pytest.mark.asyncio(loop_scope="module")

OUT_OF_RANGE = grpc.StatusCode.OUT_OF_RANGE
NOT_FOUND = grpc.StatusCode.NOT_FOUND


@pytest.mark.parametrize("size", [10, 100_000, 5 * MIB])
async def test_a_read_covers_exactly_what_was_asked(client: Client, size: int) -> None:
    data = os.urandom(size)
    name = blob_name(await client.upload(data))
    ranges = [
        (0, 0),
        (0, 1),
        (1, 0),
        (size // 2, 3),
        (size - 1, 0),
        (size - 1, 100),
        (0, size),
        (0, 1 << 62),
        (size, 0),
        (size, 5),
    ]
    for offset, limit in ranges:
        end = offset + limit if limit else size
        assert b"".join(await client.read(name, offset, limit)) == data[offset:end], (offset, limit)


async def test_messages_stay_below_2_mib(client: Client) -> None:
    name = blob_name(await client.upload(os.urandom(9 * MIB + 1)))
    sizes = [len(chunk) for chunk in await client.read(name)]
    assert sum(sizes) == 9 * MIB + 1
    assert max(sizes) < 2 * MIB
    assert min(sizes) > 0


@pytest.mark.parametrize("size", [0, 10, 100_000])
@pytest.mark.parametrize("beyond", [1, 1 << 40])
async def test_an_offset_beyond_the_end_is_out_of_range(
    client: Client, size: int, beyond: int
) -> None:
    digest = await client.upload(os.urandom(size))
    request = ReadRequest(resource_name=blob_name(digest), read_offset=size + beyond)
    await refusal(client.Read(request), OUT_OF_RANGE, digest.hash, str(size + beyond))


async def test_a_negative_offset_or_limit_is_out_of_range(client: Client) -> None:
    digest = await client.upload(b"abc")
    for place in ({"read_offset": -1}, {"read_limit": -1}):
        request = ReadRequest(resource_name=blob_name(digest), **place)
        await refusal(client.Read(request), OUT_OF_RANGE, digest.hash, "-1")


async def test_a_blob_that_is_not_there_is_not_found(client: Client) -> None:
    for data in (b"never uploaded", bytes(100_000)):
        request = ReadRequest(resource_name=blob_name(digest_of(data)))
        await refusal(client.Read(request), NOT_FOUND, digest_of(data).hash, "upload")


async def test_a_hash_with_another_size_names_nothing(client: Client) -> None:
    digest = await client.upload(b"abc")
    other = Digest(hash=digest.hash, size_bytes=4)
    assert await client.missing(other) == [other]
    await refusal(client.Read(ReadRequest(resource_name=blob_name(other))), NOT_FOUND)


@pytest.mark.parametrize("function", FUNCTIONS.values(), ids=FUNCTIONS)
async def test_the_empty_blob_is_always_there(client: Client, function: int) -> None:
    empty = digest_of(b"", function)
    assert await client.missing(empty, digest_function=function) == []
    request = BatchReadBlobsRequest(digests=[empty], digest_function=function)
    [answer] = (await client.BatchReadBlobs(request)).responses
    assert (answer.status.code, answer.data) == (0, b"")
    name = blob_name(empty, function=DigestFunction.Value.Name(function).lower())
    assert b"".join(await client.read(name)) == b""
    write = pieces(upload_name(empty, function=DigestFunction.Value.Name(function).lower()), b"")
    assert (await client.Write(write)).committed_size == 0
    batch = BatchUpdateBlobsRequest(requests=[{"digest": empty}], digest_function=function)
    [updated] = (await client.BatchUpdateBlobs(batch)).responses
    assert updated.status.code == 0


@pytest.mark.parametrize("function", FUNCTIONS.values(), ids=FUNCTIONS)
@pytest.mark.parametrize("size", [1000, 100_000])
async def test_every_digest_function_works_in_every_method(
    client: Client, function: int, size: int
) -> None:
    segment = DigestFunction.Value.Name(function).lower()
    written, batched = os.urandom(size), os.urandom(size)
    digests = [digest_of(data, function) for data in (written, batched)]
    assert await client.missing(*digests, digest_function=function) == digests
    name = upload_name(digests[0], function=segment)
    assert (await client.Write(pieces(name, written))).committed_size == size
    update = BatchUpdateBlobsRequest(
        requests=[{"digest": digests[1], "data": batched}], digest_function=function
    )
    assert (await client.BatchUpdateBlobs(update)).responses[0].status.code == 0
    assert await client.missing(*digests, digest_function=function) == []
    read = BatchReadBlobsRequest(digests=digests, digest_function=function)
    answers = (await client.BatchReadBlobs(read)).responses
    assert [answer.data for answer in answers] == [written, batched]
    for digest, data in zip(digests, (written, batched), strict=True):
        assert b"".join(await client.read(blob_name(digest, function=segment))) == data
    result = ActionResult(stdout_digest=digests[0])
    key = {"action_digest": digests[1], "digest_function": function}
    await client.UpdateActionResult(UpdateActionResultRequest(action_result=result, **key))
    assert await client.GetActionResult(GetActionResultRequest(**key)) == result


@pytest.mark.parametrize("function", ["SHA256", "SHA384", "SHA512"])
async def test_the_length_of_a_hash_tells_the_sha_functions_apart(
    client: Client, function: str
) -> None:
    data = os.urandom(100)
    digest = digest_of(data, FUNCTIONS[function])
    await client.Write(pieces(upload_name(digest), data))
    assert await client.missing(digest) == []
    assert await client.download(digest) == data


async def test_a_blake3_hash_is_never_taken_for_a_sha256_hash(client: Client) -> None:
    data = os.urandom(100)
    digest = digest_of(data, DigestFunction.BLAKE3)
    await client.Write(pieces(upload_name(digest, function="blake3"), data))
    assert await client.missing(digest, digest_function=DigestFunction.BLAKE3) == []
    assert await client.missing(digest) == [digest]
    await refusal(
        client.Write(pieces(upload_name(digest), data)),
        grpc.StatusCode.INVALID_ARGUMENT,
        "SHA256",
        hashlib.sha256(data).hexdigest(),
    )


async def test_a_batch_read_tells_what_is_missing_and_gives_the_rest_in_order(
    client: Client,
) -> None:
    first, second, missing = b"first", bytes(100_000), digest_of(b"missing")
    digests = [await client.upload(first), missing, await client.upload(second)]
    digests.append(digests[0])
    request = BatchReadBlobsRequest(digests=digests)
    answers = (await client.BatchReadBlobs(request)).responses
    assert [answer.digest for answer in answers] == digests
    assert [answer.data for answer in answers] == [first, b"", second, first]
    assert [answer.status.code for answer in answers] == [0, NOT_FOUND.value[0], 0, 0]
    assert missing.hash in answers[1].status.message
    assert {answer.compressor for answer in answers} == {Compressor.IDENTITY}


async def test_one_blob_twice_in_a_batch_is_stored_once(client: Client) -> None:
    item = {"digest": digest_of(b"twice"), "data": b"twice"}
    request = BatchUpdateBlobsRequest(requests=[item, item])
    answers = (await client.BatchUpdateBlobs(request)).responses
    assert [answer.status.code for answer in answers] == [0, 0]
    assert await client.download(item["digest"]) == b"twice"


@pytest.mark.slow
async def test_find_missing_answers_about_200_000_digests_at_once(client: Client) -> None:
    there = [await client.upload(b"there"), digest_of(b"")]
    # Put together by hand, for making so many messages takes seconds: field 2, 68 bytes of a
    # Digest with a hash of 64 characters and size 1. The response has the same form.
    absent = b"".join(
        b"\x12\x44\x0a\x40" + hashlib.sha256(b"%d" % number).hexdigest().encode() + b"\x10\x01"
        for number in range(10, 200_010)
    )
    first, last = (FindMissingBlobsRequest(blob_digests=[d]).SerializeToString() for d in there)
    response = await client.FindMissingBlobs(first + absent + last)
    assert len(response.missing_blob_digests) == 200_000
    assert response.SerializeToString() == absent
    assert len(absent) > 4 * MIB


async def test_find_missing_answers_in_the_order_asked(client: Client) -> None:
    digests = [digest_of(b"%d" % number) for number in range(1000)]
    for number in range(0, 1000, 100):
        await client.upload(b"%d" % number)
    expected = [digest for number, digest in enumerate(digests) if number % 100]
    assert await client.missing(*digests) == expected


async def test_blobs_are_shared_by_all_instances(client: Client) -> None:
    data = b"the same everywhere"
    await client.Write(pieces(upload_name(digest_of(data), "one"), data))
    assert await client.missing(digest_of(data), instance_name="two") == []
    assert b"".join(await client.read(blob_name(digest_of(data), "three/four"))) == data
