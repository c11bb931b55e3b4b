"""Blobs in their zstd form, by ByteStream and in batches."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import grpc
import pytest
import zstandard

from reapi_local.clock import ManualClock
from reapi_local.proto.bytestream_pb2 import (
    QueryWriteStatusRequest,
    QueryWriteStatusResponse,
    ReadRequest,
    WriteRequest,
)
from reapi_local.proto.remote_execution_pb2 import (
    BatchReadBlobsRequest,
    BatchUpdateBlobsRequest,
    Compressor,
    Digest,
    DigestFunction,
    GetCapabilitiesRequest,
)
from rpc.helpers import (
    FUNCTIONS,
    MIB,
    Client,
    blob_name,
    digest_of,
    pieces,
    refusal,
    serving,
    upload_name,
)

pytestmark = pytest.mark.asyncio(loop_scope="module")

INVALID = grpc.StatusCode.INVALID_ARGUMENT
NOT_FOUND = grpc.StatusCode.NOT_FOUND
SMALL, LARGE = 1000, 300_000
"""One kind of blob goes into the store's index, the other into files."""


def text(size: int) -> bytes:
    """Content of which no two are equal, and which is half as long in its zstd form."""
    return os.urandom(-(-size // 2)).hex().encode()[:size]


def zstd(data: bytes, **settings: Any) -> bytes:
    return zstandard.ZstdCompressor(**settings).compress(data)


def unzstd(form: bytes) -> bytes:
    """The content of exactly one frame."""
    stream = zstandard.ZstdDecompressor().decompressobj()
    data = stream.decompress(form)
    assert stream.eof
    assert not stream.unused_data
    return data


def compressed(name: str) -> str:
    return "/".join("compressed-blobs/zstd" if s == "blobs" else s for s in name.split("/"))


def upload(
    name: str, form: bytes, size: int = MIB, start: int = 0, first: int = 0
) -> Iterator[WriteRequest]:
    """An upload whose frames begin at ``start`` of the blob, with messages of ``size`` bytes."""
    for message in pieces(name, form, size, first):
        message.write_offset += start - first
        yield message


async def read(client: Client, digest: Digest, offset: int = 0) -> bytes:
    return b"".join(await client.read(compressed(blob_name(digest)), offset))


async def status(client: Client, name: str) -> QueryWriteStatusResponse | None:
    try:
        response = await client.QueryWriteStatus(QueryWriteStatusRequest(resource_name=name))
    except grpc.aio.AioRpcError as error:
        if error.code() is not NOT_FOUND:
            raise
        return None
    assert isinstance(response, QueryWriteStatusResponse)
    return response


async def received(client: Client, name: str, size: int) -> None:
    while (answer := await status(client, name)) is None or answer.committed_size != size:
        pass


@pytest.mark.parametrize("function", FUNCTIONS.values(), ids=FUNCTIONS)
@pytest.mark.parametrize("size", [SMALL, LARGE])
async def test_a_blob_is_written_and_read_in_its_zstd_form(
    client: Client, function: int, size: int
) -> None:
    data = text(size)
    form = zstd(data)
    digest = digest_of(data, function)
    segment = DigestFunction.Value.Name(function).lower()
    write = compressed(upload_name(digest, "a/b", segment)) + "/name.txt"
    assert (await client.Write(upload(write, form))).committed_size == len(form)
    name = blob_name(digest, "c", segment)
    assert b"".join(await client.read(name)) == data
    answer = b"".join(await client.read(compressed(name)))
    assert unzstd(answer) == data
    assert len(answer) < 0.6 * size


@pytest.mark.parametrize(("size", "message"), [(SMALL, 1), (LARGE, 999), (9 * MIB, 700_000)])
async def test_messages_may_cut_the_zstd_form_anywhere(
    client: Client, size: int, message: int
) -> None:
    data = text(size)
    thirds = [data[a:b] for a, b in pairwise((0, size // 3, size // 2, size))]
    form = b"".join(map(zstd, thirds))
    name = compressed(upload_name(digest_of(data)))
    assert (await client.Write(upload(name, form, message))).committed_size == len(form)
    assert await client.download(digest_of(data)) == data


async def test_finish_may_come_alone(client: Client) -> None:
    data = text(LARGE)
    form = zstd(data)
    name = compressed(upload_name(digest_of(data)))
    messages = [
        WriteRequest(resource_name=name, data=form),
        WriteRequest(write_offset=len(form), finish_write=True),
    ]
    assert (await client.Write(iter(messages))).committed_size == len(form)
    assert await client.download(digest_of(data)) == data


@pytest.mark.parametrize("size", [SMALL, LARGE])
async def test_an_upload_with_all_its_bytes_needs_no_finish(client: Client, size: int) -> None:
    data = text(size)
    form = zstd(data, write_checksum=True)
    name = compressed(upload_name(digest_of(data)))
    cut = WriteRequest(resource_name=name, data=form[:-1])
    await refusal(client.Write(iter([cut])), INVALID, digest_of(data).hash, "within a frame")
    half = WriteRequest(resource_name=name, data=form[: len(form) // 2])
    await refusal(client.Write(iter([half])), INVALID, "without finish_write")
    whole = WriteRequest(resource_name=name, data=form)
    assert (await client.Write(iter([whole]))).committed_size == len(form)
    assert await client.download(digest_of(data)) == data


async def test_a_leading_slash_is_ignored(client: Client) -> None:
    data = text(SMALL)
    await client.Write(upload("/" + compressed(upload_name(digest_of(data))), zstd(data)))
    name = "/" + compressed(blob_name(digest_of(data)))
    assert unzstd(b"".join(await client.read(name))) == data


@pytest.mark.parametrize("size", [0, 10, 100_000, 5 * MIB])
async def test_a_read_offset_counts_uncompressed_bytes(client: Client, size: int) -> None:
    data = text(size)
    digest = await client.upload(data)
    for offset in {0, min(size, 1), size // 2, max(0, size - 1), size}:
        assert unzstd(await read(client, digest, offset)) == data[offset:]


async def test_a_read_beyond_the_end_or_of_what_is_not_there_ends_as_usual(client: Client) -> None:
    digest = await client.upload(text(LARGE))
    name = compressed(blob_name(digest))
    for offset in (LARGE + 1, -1):
        request = ReadRequest(resource_name=name, read_offset=offset)
        await refusal(client.Read(request), grpc.StatusCode.OUT_OF_RANGE, digest.hash)
    missing = digest_of(text(LARGE))
    request = ReadRequest(resource_name=compressed(blob_name(missing)))
    await refusal(client.Read(request), NOT_FOUND, missing.hash)


async def test_a_read_has_no_limit(client: Client) -> None:
    digest = await client.upload(text(SMALL))
    for limit in (1, SMALL, -1):
        request = ReadRequest(resource_name=compressed(blob_name(digest)), read_limit=limit)
        await refusal(client.Read(request), INVALID, "read_limit", digest.hash)


async def test_messages_stay_below_2_mib_if_nothing_can_be_compressed(client: Client) -> None:
    data = os.urandom(9 * MIB + 1)
    digest = await client.upload(data)
    chunks = await client.read(compressed(blob_name(digest)))
    assert unzstd(b"".join(chunks)) == data
    assert max(map(len, chunks)) < 2 * MIB
    assert min(map(len, chunks)) > 0


@pytest.mark.parametrize("size", [0, SMALL, LARGE])
async def test_a_blob_that_is_there_is_acknowledged_with_minus_1_before_it_is_sent(
    client: Client, size: int
) -> None:
    data = text(size)
    digest = await client.upload(data)
    name = compressed(upload_name(digest))
    call = client.Write()
    await call.write(WriteRequest(resource_name=name, data=zstd(data)[:1]))
    # The client has not finished; the answer comes all the same.
    assert (await call).committed_size == -1
    answer = await status(client, name)
    assert answer is not None
    assert (answer.committed_size, answer.complete) == (size, True)


def with_window(data: bytes, log: int) -> bytes:
    settings = zstandard.ZstdCompressionParameters.from_level(1, window_log=log)
    stream = zstandard.ZstdCompressor(compression_params=settings).compressobj()
    return stream.compress(data) + stream.flush()


WRONG: dict[str, Callable[[bytes], bytes]] = {
    "nothing": lambda data: b"",
    "not-compressed": lambda data: data,
    "cut-short": lambda data: zstd(data)[:-1],
    "without-its-checksum": lambda data: zstd(data, write_checksum=True)[:-4],
    "with-a-wrong-checksum": lambda data: zstd(data, write_checksum=True)[:-4] + b"1234",
    "followed-by-garbage": lambda data: zstd(data) + b"garbage",
    "followed-by-half-a-frame": lambda data: zstd(data) + zstd(b"")[:-1],
    "of-other-content": lambda data: zstd(bytes(len(data))),
    "of-one-byte-less": lambda data: zstd(data[:-1]),
    "of-one-byte-more": lambda data: zstd(data + b"x"),
    "of-far-too-much": lambda data: zstd(data + bytes(100 * MIB)),
    "with-a-window-that-is-too-large": lambda data: with_window(data, 24),
    "of-another-format": lambda data: b"\x1f\x8b\x08" + zstd(data),
}


@pytest.mark.parametrize("size", [SMALL, LARGE])
@pytest.mark.parametrize("kind", WRONG)
async def test_a_form_that_does_not_give_the_blob_is_refused_and_leaves_nothing(
    client: Client, kind: str, size: int
) -> None:
    data = text(size)
    digest = digest_of(data)
    form = WRONG[kind](data)
    name = compressed(upload_name(digest))
    await refusal(client.Write(upload(name, form, 50_000)), INVALID, digest.hash)
    item = {"digest": digest, "data": form, "compressor": Compressor.ZSTD}
    [answer] = (await client.BatchUpdateBlobs(BatchUpdateBlobsRequest(requests=[item]))).responses
    assert answer.status.code == INVALID.value[0]
    assert digest.hash in answer.status.message
    assert await client.missing(digest) == [digest]
    assert await status(client, name) is None
    await client.Write(upload(name, zstd(data)))
    assert await client.download(digest) == data


@pytest.mark.parametrize("wrong", ["counts-uncompressed-bytes", "leaves-a-gap", "begins-late"])
async def test_an_offset_out_of_sequence_is_refused(client: Client, wrong: str) -> None:
    data = text(LARGE)
    form = zstd(data)
    first, second = {
        "counts-uncompressed-bytes": (0, LARGE // 2),
        "leaves-a-gap": (0, 1001),
        "begins-late": (1, 1001),
    }[wrong]
    name = compressed(upload_name(digest_of(data)))
    messages = [
        WriteRequest(resource_name=name, write_offset=first, data=form[:1000]),
        WriteRequest(write_offset=second, data=form[1000:], finish_write=True),
    ]
    await refusal(client.Write(iter(messages)), INVALID, "write_offset", digest_of(data).hash)
    assert await client.missing(digest_of(data)) == [digest_of(data)]


@pytest.mark.parametrize("size", [SMALL, LARGE, 3 * MIB])
async def test_an_upload_goes_on_with_a_new_frame_where_it_broke_off(
    client: Client, size: int
) -> None:
    data, half = text(size), size // 2
    name = compressed(upload_name(digest_of(data)))
    stream = zstandard.ZstdCompressor().compressobj()
    form = stream.compress(data[:half]) + stream.flush(zstandard.COMPRESSOBJ_FLUSH_BLOCK)
    call = client.Write()
    await call.write(WriteRequest(resource_name=name, data=form))
    await received(client, name, half)
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    rest = zstd(data[half:])
    answer = None
    while answer is None:
        try:
            answer = await client.Write(upload(name, rest, 1000, start=half))
        except grpc.aio.AioRpcError as error:
            if error.code() is not grpc.StatusCode.ABORTED:  # it hasn't heard of the cancellation
                raise
    assert answer.committed_size == half + len(rest)
    assert await client.download(digest_of(data)) == data


async def test_compressed_and_plain_uploads_of_one_blob_do_not_disturb_each_other(
    client: Client,
) -> None:
    data = text(LARGE)
    plain = upload_name(digest_of(data), upload="the-same")
    form, call = zstd(data), client.Write()
    await call.write(WriteRequest(resource_name=plain, data=data[:100]))
    await received(client, plain, 100)
    assert (await client.Write(upload(compressed(plain), form))).committed_size == len(form)
    await call.write(WriteRequest(write_offset=100, data=data[100:], finish_write=True))
    await call.done_writing()
    assert (await call).committed_size == LARGE


async def test_uploads_wait_while_the_memory_for_windows_is_in_use(client: Client) -> None:
    blobs = [os.urandom(16) + bytes(MIB) for _ in range(32)]
    halves = [(zstd(blob[:MIB]), zstd(blob[MIB:])) for blob in blobs]
    calls = [client.Write() for _ in blobs]
    for blob, (first, _), call in zip(blobs, halves, calls, strict=True):
        name = compressed(upload_name(digest_of(blob)))
        await call.write(WriteRequest(resource_name=name, data=first))
        await received(client, name, MIB)
    waiting = os.urandom(16) + bytes(MIB)
    name = compressed(upload_name(digest_of(waiting)))
    last = asyncio.ensure_future(client.Write(upload(name, zstd(waiting))))
    while await status(client, name) is None:
        pass
    for _ in range(20):  # small ones don't wait
        small = text(SMALL)
        await client.Write(upload(compressed(upload_name(digest_of(small))), zstd(small)))
    answer = await status(client, name)
    assert answer is not None
    assert answer.committed_size == 0
    assert not last.done()
    for (first, second), call in zip(halves, calls, strict=True):
        await call.write(WriteRequest(write_offset=len(first), data=second, finish_write=True))
        await call.done_writing()
        assert (await call).committed_size == len(first) + len(second)
        if call is calls[0]:
            assert (await last).committed_size == len(zstd(waiting))


async def test_only_so_many_compressed_reads_go_on_at_once(tmp_path: Path, transport: str) -> None:
    clock = ManualClock()
    async with serving(tmp_path / "data", transport, clock) as server:
        # Without this a client takes some megabytes that nobody has asked for.
        client = server.connect(options=[("grpc.http2.bdp_probe", 0)])
        digest = await client.upload(os.urandom(4 * MIB))
        request = ReadRequest(resource_name=compressed(blob_name(digest)))
        calls = [client.Read(request) for _ in range(85)]
        for call in calls:
            assert (await call.read()).data
        waiting = [client.Read(request) for _ in range(2)]
        messages = [asyncio.ensure_future(call.read()) for call in waiting]
        for _ in range(20):  # others don't wait
            small = await client.upload(text(SMALL))
            assert await client.download(small)
        assert not any(message.done() for message in messages)
        calls[0].cancel()
        await asyncio.wait(messages, return_when=asyncio.FIRST_COMPLETED)
        clock.advance(10)  # and the clients of the other reads have taken nothing meanwhile
        assert all([(await message).data for message in messages])
        for call in (*calls, *waiting):
            call.cancel()


async def test_each_blob_of_a_batch_has_its_compressor_and_its_status(client: Client) -> None:
    right, plain, cut, long, twice = (text(SMALL + number) for number in range(5))
    empty = digest_of(b"")
    items: list[tuple[bytes, bytes, int, int]] = [
        (right, zstd(right), Compressor.ZSTD, 0),
        (plain, plain, Compressor.IDENTITY, 0),
        (cut, zstd(cut)[:-1], Compressor.ZSTD, 3),
        (long, zstd(long + b"x"), Compressor.ZSTD, 3),
        (twice, zstd(bytes(len(twice))), Compressor.ZSTD, 3),
        (twice, zstd(twice[:9]) + zstd(twice[9:]), Compressor.ZSTD, 0),
        (twice, twice[:-1], Compressor.IDENTITY, 3),
        (b"", zstd(b""), Compressor.ZSTD, 0),
        (b"", b"", Compressor.ZSTD, 0),
    ]
    request = BatchUpdateBlobsRequest(
        requests=[
            {"digest": digest_of(blob), "data": data, "compressor": compressor}
            for blob, data, compressor, _ in items
        ]
    )
    answers = (await client.BatchUpdateBlobs(request)).responses
    assert [answer.digest for answer in answers] == [digest_of(blob) for blob, *_ in items]
    assert [answer.status.code for answer in answers] == [code for *_, code in items]
    assert all(answer.HasField("status") for answer in answers)
    digests = [digest_of(blob) for blob in (right, plain, cut, long, twice)]
    assert await client.missing(*digests, empty) == [digests[2], digests[3]]
    for blob in (right, plain, twice):
        assert await client.download(digest_of(blob)) == blob


async def test_a_batch_may_have_many_compressed_blobs(client: Client) -> None:
    blobs = [text(500 + number) for number in range(1500)]
    request = BatchUpdateBlobsRequest(
        requests=[
            {"digest": digest_of(blob), "data": zstd(blob), "compressor": Compressor.ZSTD}
            for blob in blobs
        ]
    )
    answers = (await client.BatchUpdateBlobs(request)).responses
    assert {answer.status.code for answer in answers} == {0}
    digests = [digest_of(blob) for blob in blobs]
    read = BatchReadBlobsRequest(digests=digests, acceptable_compressors=[Compressor.ZSTD])
    items = (await client.BatchReadBlobs(read)).responses
    assert [unzstd(item.data) for item in items] == blobs


async def test_the_limit_of_a_batch_counts_uncompressed_bytes_and_compressed_ones(
    client: Client,
) -> None:
    capabilities = (await client.GetCapabilities(GetCapabilitiesRequest())).cache_capabilities
    limit = capabilities.max_batch_total_size_bytes

    def batch(*blobs: tuple[bytes, bytes]) -> BatchUpdateBlobsRequest:
        return BatchUpdateBlobsRequest(
            requests=[
                {"digest": digest_of(blob), "data": form, "compressor": Compressor.ZSTD}
                for blob, form in blobs
            ]
        )

    half, other = os.urandom(10) + bytes(limit // 2 - 10), os.urandom(10) + bytes(limit // 2 - 9)
    call = client.BatchUpdateBlobs(batch((half, zstd(half)), (other, zstd(other))))
    await refusal(call, INVALID, str(limit), str(limit + 1))
    padding = b"\x50\x2a\x4d\x18" + limit.to_bytes(4, "little") + bytes(limit)
    call = client.BatchUpdateBlobs(batch((half, zstd(half) + padding)))
    await refusal(call, INVALID, str(limit))
    assert await client.missing(digest_of(half)) == [digest_of(half)]
    exact = other[:-1]
    call = client.BatchUpdateBlobs(batch((half, zstd(half)), (exact, zstd(exact))))
    assert [answer.status.code for answer in (await call).responses] == [0, 0]


async def test_a_batch_read_is_compressed_where_that_helps_and_the_client_can(
    client: Client,
) -> None:
    contents = [text(SMALL), os.urandom(SMALL), b"x", b"", text(LARGE), bytes(MIB)]
    digests = [await client.upload(content) for content in contents]
    missing = digest_of(text(SMALL))

    async def answer(*acceptable: Any) -> list[Any]:
        request = BatchReadBlobsRequest(
            digests=[*digests, missing], acceptable_compressors=acceptable
        )
        return list((await client.BatchReadBlobs(request)).responses)

    for acceptable in ((), (Compressor.IDENTITY,), (Compressor.DEFLATE, Compressor.BROTLI)):
        *items, last = await answer(*acceptable)
        assert [item.data for item in items] == contents
        assert {item.compressor for item in items} == {Compressor.IDENTITY}
    *items, last = await answer(Compressor.BROTLI, Compressor.ZSTD)
    assert [item.digest for item in items] == digests
    is_zstd = [item.compressor == Compressor.ZSTD for item in items]
    assert is_zstd == [True, False, False, False, True, True]
    read = [unzstd(i.data) if z else i.data for i, z in zip(items, is_zstd, strict=True)]
    assert read == contents
    assert sum(len(item.data) for item in items) < 0.2 * sum(map(len, contents))
    assert (last.status.code, last.data, last.compressor) == (NOT_FOUND.value[0], b"", 0)
    assert all(item.HasField("status") for item in [*items, last])
