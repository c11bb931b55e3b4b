"""A write that is broken off at any moment leaves nothing behind."""

from __future__ import annotations

import asyncio
import errno
import os
import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from contexts import context
from reapi_local.clock import ManualClock
from reapi_local.errors import StorageFull
from reapi_local.store.local.generation_store import GenerationStore
from reapi_local.threads import to_the_end
from store.helpers import (
    LARGE,
    MIB,
    blob,
    files_below,
    generation_store,
    open_files_below,
    read,
    stream,
    until,
    write,
)


def assert_nothing_left(store: GenerationStore, root: Path) -> None:
    assert os.listdir(store.generations.incoming) == []
    assert open_files_below(root) == []
    assert store.capacity.used_bytes == store.generations.disk_bytes, "room is still reserved"


@pytest.mark.parametrize("durable", [True, False])
@pytest.mark.parametrize("steps", [*range(12), 15, 20, 40])
@pytest.mark.parametrize("size", [500, 3 * LARGE])
async def test_a_write_cancelled_at_any_step_is_whole_or_absent(
    tmp_path: Path, size: int, steps: int, durable: bool
) -> None:
    digest, data = blob(1, size)
    async with generation_store(tmp_path, durable=durable) as store:
        task = asyncio.create_task(stream(store, (digest, data), "run", LARGE))
        for _ in range(steps):
            await asyncio.sleep(0)
        task.cancel()
        await asyncio.wait([task])
        assert_nothing_left(store, tmp_path)
        if not await store.find_missing(context(), [digest]):
            assert await read(store, digest) == data
        await stream(store, (digest, data))
        assert await read(store, digest) == data


async def test_a_write_cancelled_twice_still_ends_before_its_file_is_closed(
    tmp_path: Path,
) -> None:
    digest, data = blob(1, 8 * MIB)
    async with generation_store(tmp_path) as store:
        task = asyncio.create_task(stream(store, (digest, data), "run", 8 * MIB))
        await until(lambda: os.listdir(store.generations.incoming))
        for _ in range(5):
            task.cancel()
            await asyncio.sleep(0)
        await asyncio.wait([task])
        assert_nothing_left(store, tmp_path)


async def test_work_to_the_end_is_finished_however_often_its_caller_is_cancelled() -> None:
    may_end, ended = asyncio.Event(), False

    async def work() -> None:
        nonlocal ended
        await may_end.wait()
        ended = True

    async def caller() -> None:
        try:
            await to_the_end(work())
        finally:
            assert ended

    task = asyncio.create_task(caller())
    for _ in range(3):
        await asyncio.sleep(0)
        task.cancel()
    await asyncio.sleep(0)
    may_end.set()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_a_blob_that_is_there_already_is_accepted_and_not_stored_twice(
    tmp_path: Path,
) -> None:
    large = blob(1, LARGE)
    async with generation_store(tmp_path) as store:
        await stream(store, large)
        used, files = store.capacity.used_bytes, sorted(files_below(tmp_path))
        await stream(store, large)
        await write(store, large)
        assert (store.capacity.used_bytes, sorted(files_below(tmp_path))) == (used, files)


async def test_a_writer_that_is_refused_a_file_gives_its_room_back(tmp_path: Path) -> None:
    large = blob(1, LARGE)
    async with generation_store(tmp_path) as store:
        with no_more_files(), pytest.raises(OSError, match="Too many open files") as refused:
            await store.open_write(context(), large[0])
        assert refused.value.errno == errno.EMFILE
        assert_nothing_left(store, tmp_path)
        await stream(store, large)


async def test_a_reader_that_is_refused_a_file_leaves_the_blob_alone(tmp_path: Path) -> None:
    large = blob(1, LARGE)
    async with generation_store(tmp_path) as store:
        await stream(store, large)
        with no_more_files(), pytest.raises(OSError, match="Too many open files"):
            await read(store, large[0])
        assert await read(store, large[0]) == large[1]


@contextmanager
def no_more_files() -> Iterator[None]:
    """This process is out of file descriptors within the block."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    lowest_free = os.dup(0)
    os.close(lowest_free)
    resource.setrlimit(resource.RLIMIT_NOFILE, (lowest_free, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)


async def test_an_upload_larger_than_the_store_is_refused_at_once(tmp_path: Path) -> None:
    async with generation_store(tmp_path, max_bytes=4 * MIB) as store:
        with pytest.raises(StorageFull, match="max-size"):
            await store.open_write(context(), blob(1, 4 * MIB + 1)[0])
        assert_nothing_left(store, tmp_path)


async def test_room_held_by_an_upload_under_way_is_not_given_to_another(tmp_path: Path) -> None:
    clock, first, second = ManualClock(), blob(1, 3 * MIB), blob(2, 2 * MIB)
    async with generation_store(tmp_path, max_bytes=4 * MIB, clock=clock) as store:
        writer = await store.open_write(context(), first[0])
        waiting = asyncio.create_task(store.open_write(context(), second[0]))
        await until(lambda: clock.timers)
        clock.advance(0.9)
        assert clock.timers == 1, "it still waits for the other to end"
        clock.advance(0.1)
        with pytest.raises(StorageFull):
            await waiting
        await writer.discard()
        assert_nothing_left(store, tmp_path)


async def test_an_upload_gets_the_room_that_another_gives_back_in_time(tmp_path: Path) -> None:
    clock, first, second = ManualClock(), blob(1, 3 * MIB), blob(2, 2 * MIB)
    async with generation_store(tmp_path, max_bytes=4 * MIB, clock=clock) as store:
        writer = await store.open_write(context(), first[0])
        storing = asyncio.create_task(stream(store, second))
        await until(lambda: clock.timers)
        clock.advance(0.9)
        await writer.discard()
        await storing
        assert clock.timers == 0
        assert await read(store, second[0]) == second[1]
        await store.capacity.settle()
        assert_nothing_left(store, tmp_path)


async def test_who_comes_after_a_vain_wait_is_refused_at_once_for_a_while(tmp_path: Path) -> None:
    clock, first, others = ManualClock(), blob(1, 3 * MIB), [blob(n, 2 * MIB) for n in (2, 3, 4)]
    async with generation_store(tmp_path, max_bytes=4 * MIB, clock=clock) as store:
        writer = await store.open_write(context(), first[0])
        vain = asyncio.create_task(store.open_write(context(), others[0][0]))
        await until(lambda: clock.timers)
        clock.advance(1.0)
        with pytest.raises(StorageFull):
            await vain
        clock.advance(0.9)
        with pytest.raises(StorageFull):
            await store.open_write(context(), others[1][0])
        assert clock.timers == 0
        clock.advance(0.1)
        storing = asyncio.create_task(stream(store, others[2]))
        await until(lambda: clock.timers)
        await writer.discard()
        await storing
        await store.capacity.settle()
        assert_nothing_left(store, tmp_path)
