"""Every blob store keeps the same contract."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from contexts import context
from reapi_local.errors import BlobNotFound, DigestMismatch, OffsetOutOfRange
from reapi_local.protocol.digest import EMPTY_BLOBS, Digest, DigestFunction, digest_of, make_digest
from reapi_local.store.blob_store import BlobStore
from reapi_local.store.local.large_files import INLINE_MAX_BYTES
from store.helpers import LARGE, STORES, blob, read, store_of_kind, stream, write

SIZES = (1, 2048, INLINE_MAX_BYTES - 1, INLINE_MAX_BYTES, LARGE, 300_000)


@pytest.fixture(params=STORES)
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[BlobStore]:
    async with store_of_kind(request.param, tmp_path / "store") as store:
        yield store


@pytest.mark.parametrize("function", DigestFunction)
@pytest.mark.parametrize("size", SIZES)
async def test_what_was_written_is_read_back(
    store: BlobStore, size: int, function: DigestFunction
) -> None:
    batched, streamed = blob(1, size, function), blob(2, size, function)
    assert await store.find_missing(context(), [batched[0], streamed[0]]) == [
        batched[0],
        streamed[0],
    ]

    assert await store.write_many(context(), [batched]) == {}
    await stream(store, streamed)

    assert await store.find_missing(context(), [batched[0], streamed[0]]) == []
    assert await store.read_many(context(), [batched[0], streamed[0]]) == dict([batched, streamed])
    assert await read(store, batched[0]) == batched[1]


async def test_the_same_bytes_under_two_functions_are_two_blobs(store: BlobStore) -> None:
    data = b"one content"
    sha256, blake3 = digest_of(data), digest_of(data, DigestFunction.BLAKE3)
    await write(store, (sha256, data))
    assert await store.find_missing(context(), [sha256, blake3]) == [blake3]


@pytest.mark.parametrize("digest", sorted(EMPTY_BLOBS), ids=lambda d: d.function.name)
async def test_the_empty_blob_is_always_there(store: BlobStore, digest: Digest) -> None:
    assert await store.find_missing(context(), [digest]) == []
    assert await read(store, digest) == b""
    assert await store.read_many(context(), [digest]) == {digest: b""}
    assert await store.write_many(context(), [(digest, b"")]) == {}
    await stream(store, (digest, b""))


async def test_no_bytes_under_another_name_are_not_the_empty_blob(store: BlobStore) -> None:
    digest = make_digest(DigestFunction.SHA256, b"\x11" * 32, 0)
    assert await store.find_missing(context(), [digest]) == [digest]
    assert isinstance((await store.write_many(context(), [(digest, b"")]))[digest], DigestMismatch)


@pytest.mark.parametrize("size", [10, LARGE])
async def test_wrong_content_is_refused_and_leaves_nothing(store: BlobStore, size: int) -> None:
    digest, _ = blob(1, size)
    for wrong in (blob(2, size)[1], blob(1, size)[1][:-1], blob(1, size)[1] + b"x"):
        failures = await store.write_many(context(), [(digest, wrong)])
        assert isinstance(failures[digest], DigestMismatch)
        with pytest.raises(DigestMismatch):
            await stream(store, (digest, wrong))
    assert await store.find_missing(context(), [digest]) == [digest]
    with pytest.raises(BlobNotFound):
        await read(store, digest)


@pytest.mark.parametrize("size", [10, LARGE])
async def test_the_right_hash_with_a_wrong_size_names_nothing(store: BlobStore, size: int) -> None:
    digest, data = blob(1, size)
    await write(store, (digest, data))
    for wrong_size in (size - 1, size + 1, 2**63 - 1):
        wrong = make_digest(digest.function, bytes.fromhex(digest.hash_hex), wrong_size)
        assert await store.find_missing(context(), [wrong, digest]) == [wrong]
        assert await store.read_many(context(), [wrong]) == {}


async def test_one_bad_blob_of_a_batch_fails_alone(store: BlobStore) -> None:
    good, bad = [blob(n, size) for n, size in enumerate(SIZES)], blob(99, 50)[0]
    failures = await store.write_many(context(), [good[0], (bad, b"not this"), *good[1:]])
    assert set(failures) == {bad}
    assert await store.find_missing(context(), [bad, *(digest for digest, _ in good)]) == [bad]


async def test_missing_come_in_the_order_asked_duplicates_included(store: BlobStore) -> None:
    held, first, second = blob(1, 10), blob(2, 10)[0], blob(3, LARGE)[0]
    await write(store, held)
    asked = [second, held[0], first, second, held[0]]
    assert await store.find_missing(context(), asked) == [second, first, second]
    assert await store.find_missing(context(), []) == []


async def test_duplicates_in_a_request_are_one_blob(store: BlobStore) -> None:
    small, large = blob(1, 10), blob(2, LARGE)
    assert await store.write_many(context(), [small, large, small, large]) == {}
    assert await store.read_many(context(), [large[0], small[0], small[0]]) == dict([small, large])


async def test_a_request_of_thousands_is_answered_whole(store: BlobStore) -> None:
    held = [blob(n, 20) for n in range(0, 9000, 3)]
    assert await store.write_many(context(), held) == {}
    asked = [blob(n, 20)[0] for n in range(9000)]
    absent = [digest for n, digest in enumerate(asked) if n % 3]
    assert await store.find_missing(context(), asked) == absent


@pytest.mark.parametrize("size", [100, 200_000])
async def test_a_part_is_read_by_offset_and_limit(store: BlobStore, size: int) -> None:
    digest, data = blob(1, size)
    await write(store, (digest, data))
    for offset in (0, 1, size // 2, size - 1, size):
        for limit in (0, 1, size // 2, size, size + 1):
            async with store.open_read(context(), digest, offset, limit) as reader:
                part = b""
                while piece := await reader.read(60_000):
                    assert len(piece) <= 60_000
                    part += piece
            assert part == data[offset : offset + limit if limit else size]


@pytest.mark.parametrize("size", [0, 10, LARGE])
@pytest.mark.parametrize(("offset", "limit"), [(-1, 0), (1_000_000, 0), (0, -1)])
async def test_a_range_outside_of_the_blob_is_an_error(
    store: BlobStore, size: int, offset: int, limit: int
) -> None:
    data = blob(1, size)
    await write(store, data)
    with pytest.raises(OffsetOutOfRange):
        async with store.open_read(context(), data[0], offset, limit):
            pass


@pytest.mark.parametrize("size", [10, LARGE])
async def test_nobody_sees_a_blob_before_its_commit(store: BlobStore, size: int) -> None:
    digest, data = blob(1, size)
    writer = await store.open_write(context(), digest)
    await writer.write(data)
    assert await store.find_missing(context(), [digest]) == [digest]
    await writer.commit()
    await writer.discard()
    assert await read(store, digest) == data


@pytest.mark.parametrize("size", [10, LARGE])
async def test_a_discarded_writer_leaves_nothing(store: BlobStore, size: int) -> None:
    digest, data = blob(1, size)
    writer = await store.open_write(context(), digest)
    await writer.write(data)
    await writer.discard()
    await writer.discard()
    assert await store.find_missing(context(), [digest]) == [digest]


@pytest.mark.parametrize("size", [10, LARGE])
async def test_identical_writes_at_the_same_time_all_succeed(store: BlobStore, size: int) -> None:
    data = blob(1, size)
    await asyncio.gather(
        *(stream(store, data, f"run {n}", 9999) for n in range(8)),
        *(write(store, data) for _ in range(8)),
    )
    assert await read(store, data[0]) == data[1]
