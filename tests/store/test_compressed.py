"""Where blobs are compressed and decompressed: short ones at once, long ones in threads."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import pytest_asyncio
import zstandard

from reapi_local.protocol.digest import digest_of
from reapi_local.protocol.zstd import Decoder
from reapi_local.store.compressed import (
    CompressingReader,
    compress_where_smaller,
    decompress_all,
    next_piece,
)
from reapi_local.store.reading import BytesReader

SHORT, LONG = os.urandom(20_000), os.urandom(3_000_000)


class CountingExecutor(ThreadPoolExecutor):
    """Counts the calls in threads."""

    calls = 0

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        self.calls += 1
        return super().submit(fn, *args, **kwargs)


@pytest_asyncio.fixture
async def executor() -> AsyncIterator[CountingExecutor]:
    with CountingExecutor(1) as executor:
        asyncio.get_running_loop().set_default_executor(executor)
        yield executor


def zstd(data: bytes) -> bytes:
    return zstandard.ZstdCompressor().compress(data)


async def compressed(data: bytes) -> bytes:
    reader, form = CompressingReader(BytesReader(data), len(data)), b""
    while chunk := await reader.read(1_000_000):
        form += chunk
    return form


async def decompressed(data: bytes) -> bytes:
    decoder, blob = Decoder(digest_of(data)), b""
    decoder.feed(zstd(data))
    while not decoder.needs_data:
        blob += await next_piece(decoder)
    return blob


async def test_long_streams_do_not_hold_up_the_event_loop(executor: CountingExecutor) -> None:
    form = await compressed(LONG)
    assert zstandard.ZstdDecompressor().decompress(form) == LONG
    assert executor.calls == 3
    assert await decompressed(LONG) == LONG
    assert executor.calls >= 6


async def test_a_small_message_of_a_large_blob_may_have_much_in_it(
    executor: CountingExecutor,
) -> None:
    assert await decompressed(bytes(3_000_000)) == bytes(3_000_000)
    assert executor.calls >= 2


async def test_large_batches_do_not_hold_up_the_event_loop(executor: CountingExecutor) -> None:
    many = [b"%d" % number for number in range(200)]
    for blobs in ([bytes(2_000_000)], [LONG], many):
        calls = executor.calls
        forms = [(digest_of(blob), zstd(blob)) for blob in blobs]
        assert await decompress_all(forms) == blobs
        assert executor.calls == calls + 1
        await compress_where_smaller({digest_of(blob): blob for blob in blobs})
        assert executor.calls == calls + 2


async def test_what_is_short_costs_no_thread(executor: CountingExecutor) -> None:
    assert await decompressed(SHORT) == SHORT
    assert zstandard.ZstdDecompressor().decompress(await compressed(SHORT)) == SHORT
    assert await decompress_all([(digest_of(SHORT), zstd(SHORT))]) == [SHORT]
    assert await compress_where_smaller({digest_of(SHORT): SHORT}) == {}
    assert executor.calls == 0
