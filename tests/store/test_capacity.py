"""The store keeps to its limits, and refuses only when it must."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contexts import context
from reapi_local.clock import ManualClock
from reapi_local.errors import StorageFull
from reapi_local.events import EventStream
from reapi_local.store.local.capacity import Capacity
from reapi_local.store.local.generation_store import GenerationStore
from reapi_local.store.local.rotation import (
    StoreLimits,
    cost_bytes,
    fits,
    is_full,
    is_over_soft_limit,
    is_worth_evicting,
)
from store.helpers import KIB, MIB, blob, bytes_on_disk, generation_store, read, stream, write

MAX = 4 * MIB
LEASE = 100.0
WHILE_RETIRING = StoreLimits(MAX).generation_bytes
"""What is copied forward is there twice until its old generation is deleted."""


async def test_a_stream_of_blobs_never_exceeds_the_limit(tmp_path: Path) -> None:
    clock = ManualClock()
    async with generation_store(tmp_path, max_bytes=MAX, clock=clock, lease_seconds=LEASE) as store:
        for number in range(120):
            size = (300, 3 * KIB, 60 * KIB, 200 * KIB)[number % 4]
            batch = [blob(1000 * number + n, size) for n in range(max(1, 100 * KIB // size))]
            assert await store.write_many(context(f"run {number}"), batch) == {}
            await store.capacity.settle()  # what goes on in the background belongs to this moment
            clock.advance(LEASE / 2)
            assert store.capacity.used_bytes <= MAX + WHILE_RETIRING
            assert bytes_on_disk_now(tmp_path) <= MAX + WHILE_RETIRING
        await store.capacity.settle()
        assert bytes_on_disk(tmp_path) <= MAX
        assert store.generations.disk_bytes > MAX // 2, "it also makes use of its room"


async def test_old_blobs_go_before_new_ones(tmp_path: Path) -> None:
    clock = ManualClock()
    async with generation_store(tmp_path, max_bytes=MAX, clock=clock, lease_seconds=LEASE) as store:
        blobs = [blob(n, 60 * KIB) for n in range(200)]
        for number, data in enumerate(blobs):
            await write(store, data, f"run {number}")
            await store.capacity.settle()
            clock.advance(LEASE)
        missing = set(store.generations.missing([digest for digest, _ in blobs]))
        assert {digest for digest, _ in blobs[:100]} <= missing
        assert not {digest for digest, _ in blobs[-20:]} & missing


async def test_leases_alone_fill_the_limit_and_no_promise_is_broken(tmp_path: Path) -> None:
    clock, told = ManualClock(), []
    async with generation_store(tmp_path, max_bytes=MAX, clock=clock, lease_seconds=LEASE) as store:
        data = blob(0, 50 * KIB)
        while not (failures := await store.write_many(context("run"), [data])):
            told.append(data)
            data = blob(len(told), 50 * KIB)
        assert isinstance(failures[data[0]], StorageFull)
        assert "running builds have leases" in str(failures[data[0]])
        assert sum(len(data) for _, data in told) >= MAX * 0.7
        assert bytes_on_disk(tmp_path) <= MAX
        for digest, content in told:
            assert await read(store, digest, "run") == content
        with pytest.raises(StorageFull):
            await stream(store, blob(5000, 400 * KIB), "run")

        clock.advance(2 * LEASE)
        await stream(store, blob(5000, 400 * KIB), "run")
        assert await read(store, blob(5000, 400 * KIB)[0]) == blob(5000, 400 * KIB)[1]


async def test_an_unleased_newest_generation_makes_room_too(tmp_path: Path) -> None:
    clock = ManualClock()
    async with generation_store(tmp_path, max_bytes=MAX, clock=clock, lease_seconds=LEASE) as store:
        kept = [blob(n, 60 * KIB) for n in range(40)]
        assert await store.write_many(context("kept"), kept) == {}
        await store.capacity.start_generation()
        for number in range(10):
            await write(store, blob(100 + number, 60 * KIB), "forgotten")
            clock.advance(LEASE / 4)
            assert await store.find_missing(context("kept"), [digest for digest, _ in kept]) == []
        clock.advance(LEASE * 0.9)
        assert await store.find_missing(context("kept"), [digest for digest, _ in kept]) == []
        clock.advance(LEASE * 0.2)
        store.leases.take_recent()
        await stream(store, blob(200, 1200 * KIB), "kept")
        assert await store.read_many(context(), [digest for digest, _ in kept]) == dict(kept)


async def test_blobs_used_lately_don_t_keep_a_writer_from_its_room(tmp_path: Path) -> None:
    clock = ManualClock()
    async with generation_store(tmp_path, max_bytes=MAX, clock=clock, lease_seconds=LEASE) as store:
        for number in range(3):
            await stream(store, blob(number, 1100 * KIB), "run")
        await store.capacity.settle()
        clock.advance(2 * LEASE)
        await stream(store, blob(10, 2 * MIB), "run")
        await stream(store, blob(11, 1 * MIB), "run")


def with_free_bytes(store: GenerationStore, limits: StoreLimits, clock: ManualClock) -> list[int]:
    """Let a list's only item say how much the file system has left."""
    free = [1024 * MIB]
    store.capacity = Capacity(
        store.generations, store.leases, limits, clock, EventStream(), lambda: free[0]
    )
    return free


async def test_a_disk_others_filled_refuses_writes_and_goes_on_reading(tmp_path: Path) -> None:
    clock, limits = ManualClock(), StoreLimits(MAX, min_free_bytes=MIB, lease_seconds=LEASE)
    store = GenerationStore(str(tmp_path), limits, clock, EventStream(), durable=False)
    free = with_free_bytes(store, limits, clock)
    promised, forgotten = blob(1, 50 * KIB), blob(2, 50 * KIB)
    await write(store, forgotten, "old run")
    clock.advance(2 * LEASE)
    await write(store, promised, "run")

    free[0] = MIB // 2
    for attempt in range(5):
        with pytest.raises(StorageFull, match=r"the disk has .* free"):
            await stream(store, blob(10 + attempt, 100 * KIB), "run")
        await store.capacity.settle()
        clock.advance(2.0)
    assert await read(store, promised[0], "run") == promised[1]

    free[0] = 1024 * MIB
    await stream(store, blob(20, 100 * KIB), "run")
    await store.close()


async def test_maintenance_of_a_crowded_disk_comes_to_an_end(tmp_path: Path) -> None:
    clock, limits = ManualClock(), StoreLimits(MAX, min_free_bytes=MIB, lease_seconds=LEASE)
    store = GenerationStore(str(tmp_path), limits, clock, EventStream(), durable=False)
    free = with_free_bytes(store, limits, clock)
    writer = await store.open_write(context(), blob(1, 100 * KIB)[0])
    free[0] = 0
    await writer.discard()
    await store.capacity.settle()
    assert len(store.generations.newest_first) == 1
    await store.close()


async def test_many_writers_at_once_share_the_room(tmp_path: Path) -> None:
    async with generation_store(tmp_path, max_bytes=MAX, lease_seconds=1e-9) as store:
        blobs = [blob(n, 150 * KIB + n) for n in range(60)]
        limit = asyncio.Semaphore(6)

        async def one(number: int) -> None:
            async with limit:
                await stream(store, blobs[number], f"run {number}", 40_000)
                assert bytes_on_disk_now(tmp_path) <= MAX + WHILE_RETIRING

        await asyncio.gather(*(one(number) for number in range(60)))
        await store.capacity.settle()
        assert store.capacity.used_bytes == store.generations.disk_bytes <= MAX
        assert bytes_on_disk(tmp_path) <= MAX


async def test_small_writes_that_end_keep_nobody_waiting_for_room(tmp_path: Path) -> None:
    clock = ManualClock()
    async with generation_store(tmp_path, max_bytes=MAX, clock=clock) as store:
        capacity = store.capacity
        await capacity.reserve(MAX // 2)
        waiting = asyncio.create_task(capacity.reserve(MAX * 3 // 4))
        for _ in range(400):
            await capacity.reserve(KIB)
            capacity.release(KIB)
            clock.advance(0.5)
            for _ in range(5):  # it sees that a write has ended, and waits no longer
                await asyncio.sleep(0)
            while not (waiting.done() or clock.timers):  # noqa: ASYNC110 - until it waits again
                await asyncio.sleep(0)
            if waiting.done():
                break
        capacity.release(MAX // 2)
        waiting.cancel()  # for it may wait for as long as others write
        with pytest.raises(StorageFull):
            await waiting


def bytes_on_disk_now(root: Path) -> int:
    """As ``bytes_on_disk`` while files come and go."""
    for _ in range(20):
        try:
            return bytes_on_disk(root)
        except FileNotFoundError:
            continue
    return 0


sizes = st.integers(0, 2**40)


@given(sizes)
def test_the_cost_of_a_blob_is_no_less_than_its_length(size: int) -> None:
    assert size < cost_bytes(size) <= max(3 * size, size + 8192) + 300


@given(st.integers(2**20, 2**45))
def test_what_is_crowded_still_has_room_to_carry_a_generation(max_bytes: int) -> None:
    limits = StoreLimits(max_bytes)
    assert 0 < limits.soft_bytes < max_bytes
    assert fits(limits.soft_bytes, 2**50, limits.generation_bytes, limits)
    assert not fits(limits.soft_bytes + 1, 2**50, limits.generation_bytes, limits)
    assert is_full(limits.generation_bytes, limits)
    assert not is_full(limits.generation_bytes - 1, limits)


@given(sizes, sizes, sizes)
def test_a_write_never_takes_what_others_keep_free(used: int, free: int, needed: int) -> None:
    limits = StoreLimits(2**40, min_free_bytes=2**20)
    if fits(used, free, needed, limits):
        assert free - needed >= 2**20
        assert used + needed <= 2**40
    assert is_over_soft_limit(used, 2**20 - 1, limits)


@given(sizes)
def test_a_generation_is_worth_retiring_by_what_it_gives_back(disk_bytes: int) -> None:
    assert is_worth_evicting(disk_bytes, 0)
    assert is_worth_evicting(disk_bytes, disk_bytes) == (disk_bytes < 8)
