"""ByteStream.Write and QueryWriteStatus: what is refused stays invisible, what broke resumes."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable
from typing import Any

import grpc
import pytest

from reapi_local.proto.bytestream_pb2 import QueryWriteStatusRequest, ReadRequest, WriteRequest
from reapi_local.store.local.large_files import INLINE_MAX_BYTES
from rpc.helpers import MIB, Client, Server, blob_name, digest_of, pieces, refusal, upload_name

pytestmark = pytest.mark.asyncio(loop_scope="module")

INVALID = grpc.StatusCode.INVALID_ARGUMENT
SMALL, LARGE = 1000, INLINE_MAX_BYTES + 100_000
"""One kind of blob goes into the store's index, the other into files."""

Message = tuple[int, bytes, bool]


def messages(name: str, *parts: Message) -> list[WriteRequest]:
    return [
        WriteRequest(resource_name=name, write_offset=offset, data=data, finish_write=finish)
        for offset, data, finish in parts
    ]


def wrong_sequences(data: bytes) -> dict[str, list[Message]]:
    half = len(data) // 2
    first, second = data[:half], data[half:]
    return {
        "goes-back": [(0, first, False), (half - 1, second, True)],
        "begins-again": [(0, first, False), (0, data, True)],
        "leaves-a-gap": [(0, first, False), (half + 1, second[1:], True)],
        "begins-late": [(half, second, True)],
        "negative-offset": [(-1, data, True)],
        "finishes-short": [(0, first, True)],
        "stops-short": [(0, first, False)],
        "never-finishes": [(0, first, False), (half, second[:-1], False)],
        "other-content-without-finish": [(0, first, False), (half, bytes(len(second)), False)],
        "too-much": [(0, first, False), (half, second + b"x", True)],
        "goes-on-after-finish": [(0, data, True), (len(data), b"", True)],
        "more-data-after-finish": [(0, data, True), (len(data), b"x", False)],
        "other-content": [(0, first, False), (half, bytes(len(second)), True)],
    }


@pytest.mark.parametrize("size", [SMALL, LARGE])
@pytest.mark.parametrize("kind", wrong_sequences(b"ab"))
async def test_an_upload_that_does_not_add_up_is_refused_and_leaves_nothing_visible(
    client: Client, kind: str, size: int
) -> None:
    data = os.urandom(size)
    digest = digest_of(data)
    upload = messages(upload_name(digest), *wrong_sequences(data)[kind])
    await refusal(client.Write(iter(upload)), INVALID, digest.hash)
    assert await client.missing(digest) == [digest]
    read = client.Read(ReadRequest(resource_name=blob_name(digest)))
    await refusal(read, grpc.StatusCode.NOT_FOUND, digest.hash)


async def test_one_call_writes_one_resource(client: Client) -> None:
    data = os.urandom(10)
    digest, other = digest_of(data), digest_of(b"other")
    upload = messages(upload_name(digest), (0, data[:5], False), (5, data[5:], True))
    upload[1].resource_name = upload_name(other)
    await refusal(client.Write(iter(upload)), INVALID, digest.hash, other.hash, "one resource")
    assert await client.missing(digest, other) == [digest, other]


async def test_only_the_first_message_needs_the_name(client: Client) -> None:
    data = os.urandom(10)
    upload = messages(upload_name(digest_of(data)), (0, data[:5], False), (5, data[5:], True))
    upload[1].resource_name = ""
    assert (await client.Write(iter(upload))).committed_size == 10
    assert await client.download(digest_of(data)) == data


@pytest.mark.parametrize("size", [0, SMALL, LARGE])
@pytest.mark.parametrize("parts", [1, 2])
async def test_a_stream_that_ends_with_the_last_byte_needs_no_finish_write(
    client: Client, size: int, parts: int
) -> None:
    """As bazel-remote's proxy sends it; `finish_write` is never set."""
    data = os.urandom(size)
    cut = size // parts
    sent = [(0, data[:cut], False), *([(cut, data[cut:], False)] if parts == 2 else [])]
    upload = messages(upload_name(digest_of(data)), *sent)
    assert (await client.Write(iter(upload))).committed_size == size
    assert await client.missing(digest_of(data)) == []
    assert await client.download(digest_of(data)) == data


@pytest.mark.parametrize("finish", ["with the last data", "alone"])
async def test_finish_may_come_with_the_last_data_or_alone(client: Client, finish: str) -> None:
    data = os.urandom(10)
    alone = finish == "alone"
    parts = [(0, data, not alone), *([(10, b"", True)] if alone else [])]
    answer = await client.Write(iter(messages(upload_name(digest_of(data)), *parts)))
    assert answer.committed_size == 10
    assert await client.download(digest_of(data)) == data


async def test_64_mib_in_pieces_of_1_mib(client: Client) -> None:
    data = os.urandom(MIB) * 64
    digest = await client.upload(data)
    assert await client.missing(digest) == []
    assert await client.download(digest) == data


@pytest.mark.parametrize(("size", "piece"), [(SMALL, 1), (LARGE, 200)])
async def test_many_tiny_messages(client: Client, size: int, piece: int) -> None:
    data = os.urandom(size)
    digest = await client.upload(data, size=piece)
    assert await client.download(digest) == data


async def test_the_empty_blob_can_be_uploaded(client: Client) -> None:
    await client.upload(b"")
    answer = await client.Write(iter(messages(upload_name(digest_of(b"")), (0, b"", True))))
    assert answer.committed_size == 0


@pytest.mark.parametrize("size", [SMALL, LARGE])
async def test_a_blob_that_is_there_is_acknowledged_before_it_is_sent(
    client: Client, size: int
) -> None:
    data = os.urandom(size)
    digest = await client.upload(data)
    call = client.Write()
    await call.write(messages(upload_name(digest), (0, data[:1], False))[0])
    # The client has not finished; the answer comes all the same.
    assert (await call).committed_size == size


@pytest.mark.parametrize("size", [SMALL, LARGE])
async def test_an_upload_goes_on_where_its_call_was_cancelled(client: Client, size: int) -> None:
    data = os.urandom(size)
    digest = digest_of(data)
    name = upload_name(digest)
    await _break_off(client, name, data[: size // 2])
    status = await client.QueryWriteStatus(QueryWriteStatusRequest(resource_name=name))
    assert (status.committed_size, status.complete) == (size // 2, False)
    assert await client.missing(digest) == [digest]
    answer = await _when_free(lambda: client.Write(pieces(name, data, start=size // 2)))
    assert answer.committed_size == size
    assert await client.download(digest) == data
    status = await client.QueryWriteStatus(QueryWriteStatusRequest(resource_name=name))
    assert (status.committed_size, status.complete) == (size, True)


@pytest.mark.parametrize("size", [SMALL, LARGE])
async def test_an_upload_that_broke_off_can_begin_again(client: Client, size: int) -> None:
    data = os.urandom(size)
    name = upload_name(digest_of(data))
    await _break_off(client, name, bytes(size // 2))
    await _when_free(lambda: client.Write(pieces(name, data)))
    assert await client.download(digest_of(data)) == data


async def test_an_upload_resumes_only_where_it_stopped(client: Client) -> None:
    data = os.urandom(SMALL)
    name = upload_name(digest_of(data))
    await _break_off(client, name, data[:500])
    for offset in (400, 600):
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await _when_free(lambda o=offset: client.Write(pieces(name, data, start=o)))
        assert caught.value.code() is INVALID
        assert "resume at 500" in str(caught.value.details())
    await client.Write(pieces(name, data, start=500))
    assert await client.download(digest_of(data)) == data


async def test_a_refused_step_does_not_cost_what_came_before(client: Client) -> None:
    data = os.urandom(SMALL)
    name = upload_name(digest_of(data))
    gap = messages(name, (0, data[:500], False), (600, data[600:], True))
    await refusal(client.Write(iter(gap)), INVALID, "resume at 500")
    await client.Write(pieces(name, data, start=500))
    assert await client.download(digest_of(data)) == data


async def test_the_status_of_an_unknown_upload_is_not_found(client: Client) -> None:
    query = QueryWriteStatusRequest(resource_name=upload_name(digest_of(b"a")))
    await refusal(client.QueryWriteStatus(query), grpc.StatusCode.NOT_FOUND, digest_of(b"a").hash)


async def test_the_status_of_a_blob_that_is_there_is_complete_under_any_name(
    client: Client,
) -> None:
    digest = await client.upload(b"abc")
    query = QueryWriteStatusRequest(resource_name=upload_name(digest))
    status = await client.QueryWriteStatus(query)
    assert (status.committed_size, status.complete) == (3, True)


@pytest.mark.parametrize("size", [SMALL, LARGE])
async def test_two_uploads_of_one_blob_do_not_disturb_each_other(client: Client, size: int) -> None:
    data = os.urandom(size)
    digest = digest_of(data)
    names = [upload_name(digest), upload_name(digest)]
    calls = [client.Write(), client.Write()]
    for call, name in zip(calls, names, strict=True):
        await call.write(messages(name, (0, data[:100], False))[0])
        await _received(client, name, 100)
    for call, name in zip(calls, names, strict=True):
        await call.write(messages(name, (100, data[100:], True))[0])
        await call.done_writing()
    assert [(await call).committed_size for call in calls] == [size, size]
    assert await client.download(digest) == data


async def test_a_second_call_under_the_name_of_an_upload_under_way_is_told_to_wait(
    client: Client,
) -> None:
    data = os.urandom(SMALL)
    name = upload_name(digest_of(data))
    first = client.Write()
    await first.write(messages(name, (0, data[:500], False))[0])
    await _received(client, name, 500)
    # ABORTED, for a client that resumes can be faster than the news that its old call is gone.
    await refusal(client.Write(pieces(name, data)), grpc.StatusCode.ABORTED, "in progress")
    await first.write(messages(name, (500, data[500:], True))[0])
    await first.done_writing()
    assert (await first).committed_size == SMALL


async def test_uploads_of_one_identifier_in_two_instances_are_two(client: Client) -> None:
    data = os.urandom(SMALL)
    names = [upload_name(digest_of(data), instance, upload="u") for instance in ("a", "b/c")]
    await _break_off(client, names[0], data[:500])
    query = QueryWriteStatusRequest(resource_name=names[1])
    await refusal(client.QueryWriteStatus(query), grpc.StatusCode.NOT_FOUND)


@pytest.mark.parametrize("upload", ["..", "../../etc", "%2e%2e", "ü", "a b", "x" * 255])
async def test_no_file_is_named_after_what_a_client_calls_its_upload(
    shared_server: Server, upload: str
) -> None:
    client, data = shared_server.client, os.urandom(LARGE)
    name = f"uploads/{upload}/blobs/{digest_of(data).hash}/{len(data)}"
    if "/" in upload:
        await refusal(client.Write(pieces(name, data)), INVALID)
        return
    await client.Write(pieces(name, data))
    assert await client.download(digest_of(data)) == data
    files = [file for _, _, names in os.walk(shared_server.config.data_dir) for file in names]
    assert not [file for file in files if upload in file]


async def test_what_follows_the_size_is_ignored(client: Client) -> None:
    data = b"with a file name"
    await client.Write(pieces(upload_name(digest_of(data)) + "/some/file.txt", data))
    assert await client.download(digest_of(data)) == data


async def test_a_leading_slash_is_ignored(client: Client) -> None:
    data = b"as moon sends it"
    await client.Write(pieces("/" + upload_name(digest_of(data)), data))
    assert b"".join(await client.read("/" + blob_name(digest_of(data)))) == data


async def _break_off(client: Client, name: str, data: bytes) -> None:
    """Cancel an upload of which the server has ``data``."""
    call = client.Write()
    await call.write(messages(name, (0, data, False))[0])
    await _received(client, name, len(data))
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call


async def _received(client: Client, name: str, size: int) -> None:
    query = QueryWriteStatusRequest(resource_name=name)
    while await _committed(client, query) != size:
        pass


async def _committed(client: Client, query: QueryWriteStatusRequest) -> int | None:
    try:
        return int((await client.QueryWriteStatus(query)).committed_size)
    except grpc.aio.AioRpcError as error:
        if error.code() is not grpc.StatusCode.NOT_FOUND:
            raise
        return None


async def _when_free(write: Callable[[], Awaitable[Any]]) -> Any:
    """Begin again until the server has heard that the last call under the name was cancelled."""
    while True:
        try:
            return await write()
        except grpc.aio.AioRpcError as error:
            if error.code() is not grpc.StatusCode.ABORTED:
                raise
