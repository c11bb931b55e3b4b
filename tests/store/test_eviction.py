"""Evicting a generation, at bad moments."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import pytest

from contexts import context
from reapi_local.clock import ManualClock
from reapi_local.errors import BlobNotFound, Draining
from reapi_local.events import EventStream
from reapi_local.protocol.lookup import Hit, Miss, MissReason, StoredResult
from reapi_local.store.local.eviction import Eviction
from reapi_local.store.local.generation import Generation
from reapi_local.store.local.generation_results import GenerationActionCache
from reapi_local.store.local.generation_store import GenerationStore
from reapi_local.store.local.index import Batch, Table
from store.helpers import (
    KIB,
    LARGE,
    MIB,
    blob,
    bytes_on_disk,
    files_below,
    generation_store,
    large_files,
    open_files_below,
    read,
    stream,
    until,
    write,
)

ACTION = blob(0, 10)[0]
LEASE = 100.0


async def rotate(store: GenerationStore) -> None:
    """Begin a generation and evict every other."""
    await store.capacity.start_generation()
    while len(store.generations.newest_first) > 1:
        await store.capacity.evict_oldest()


def result(number: int, run: str = "run") -> StoredResult:
    return StoredResult(b"%d" % number, 0.0, "owner", run)


@pytest.mark.parametrize("run", ["run", ""])
@pytest.mark.parametrize("size", [500, LARGE])
async def test_a_written_blob_survives_while_leased_and_goes_after(
    tmp_path: Path, size: int, run: str
) -> None:
    clock, data = ManualClock(), blob(1, size)
    async with generation_store(tmp_path, clock=clock, lease_seconds=LEASE) as store:
        await write(store, data, run)
        for _ in range(3):
            await rotate(store)
            assert store.generations.find(data[0])
        clock.advance(2 * LEASE)
        await rotate(store)  # lately used: may stay once more
        await rotate(store)
        assert await store.find_missing(context(), [data[0]]) == [data[0]]
        with pytest.raises(BlobNotFound):
            await read(store, data[0])


@pytest.mark.parametrize("size", [500, LARGE])
async def test_being_found_or_read_leases(tmp_path: Path, size: int) -> None:
    clock, found, was_read, neither = ManualClock(), *(blob(n, size) for n in range(3))
    async with generation_store(tmp_path, clock=clock, lease_seconds=LEASE) as store:
        assert await store.write_many(context("writer"), [found, was_read, neither]) == {}
        clock.advance(LEASE)
        await store.find_missing(context("asker"), [found[0]])
        await read(store, was_read[0], "reader")
        store.leases.take_recent()
        await rotate(store)
        assert store.generations.missing([found[0], was_read[0], neither[0]]) == [neither[0]]


@pytest.mark.parametrize("call", ["found", "missing", "no result", "not readable"])
async def test_any_call_of_a_run_renews_all_it_was_promised(tmp_path: Path, call: str) -> None:
    clock, data, absent = ManualClock(), blob(1, 500), blob(2, 500)[0]
    async with generation_store(tmp_path, clock=clock, lease_seconds=LEASE) as store:
        await write(store, data, "run")
        for _ in range(4):
            clock.advance(LEASE * 0.9)
            if call == "found":
                await store.find_missing(context("run"), [data[0]])
            elif call == "missing":
                await store.find_missing(context("run"), [absent])
            elif call == "no result":
                await GenerationActionCache(store, EventStream()).get(context("run"), ACTION)
            else:
                await store.read_many(context("run"), [absent])
        store.leases.take_recent()
        await rotate(store)
        assert await read(store, data[0]) == data[1]


async def test_a_reader_goes_on_after_its_generation_was_deleted(tmp_path: Path) -> None:
    clock, data = ManualClock(), blob(1, MIB)
    async with generation_store(tmp_path, clock=clock, lease_seconds=LEASE) as store:
        await stream(store, data)
        async with store.open_read(context(), data[0]) as reader:
            head = await reader.read(100_000)
            clock.advance(2 * LEASE)
            await rotate(store)
            await rotate(store)
            assert await store.find_missing(context(), [data[0]]) == [data[0]]
            assert not large_files(tmp_path)
            rest = b""
            while piece := await reader.read(100_000):
                rest += piece
        assert head + rest == data[1]
        assert open_files_below(tmp_path) == []


async def test_large_blobs_are_kept_without_a_copy(tmp_path: Path) -> None:
    data = blob(1, MIB)
    async with generation_store(tmp_path) as store:
        await stream(store, data)
        (before,) = (os.stat(f).st_ino for f in large_files(tmp_path))
        await rotate(store)
        (after,) = (os.stat(f).st_ino for f in large_files(tmp_path))
        assert before == after


@pytest.mark.parametrize("steps", range(0, 60, 3))
@pytest.mark.parametrize("size", [500, LARGE])
async def test_a_write_on_its_way_to_a_generation_is_not_lost_with_it(
    tmp_path: Path, size: int, steps: int
) -> None:
    data = blob(1, size)
    async with generation_store(tmp_path) as store:
        writing = asyncio.create_task(stream(store, data, "run"))
        for _ in range(steps):
            await asyncio.sleep(0)
        await rotate(store)
        await writing
        assert await read(store, data[0]) == data[1]
        await rotate(store)
        assert await read(store, data[0]) == data[1]


async def test_a_retirement_waits_for_a_write_that_began_before_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data, waits = blob(1, 500), asyncio.Event()
    async with generation_store(tmp_path) as store:
        old = store.generations.newest
        idle = old.idle

        async def noticed() -> None:
            waits.set()
            await idle()

        monkeypatch.setattr(old, "idle", noticed)
        with old.writing():
            # Acknowledged later, leased already: as a write is while its commit waits.
            store.leases.add("run", (data[0],))
            evicting = asyncio.create_task(rotate(store))
            await waits.wait()
            await store.generations.commit(old, Batch(put_if_absent=[(Table.BLOBS, *data)]))
            assert not evicting.done()
        await evicting
        assert await read(store, data[0]) == data[1]


async def test_two_retirements_at_once_follow_each_other(tmp_path: Path) -> None:
    blobs = [blob(n, size) for n, size in enumerate([500, LARGE] * 4)]
    async with generation_store(tmp_path) as store:
        for data in blobs:
            await write(store, data, "run")
            await store.capacity.start_generation()
        await asyncio.gather(*(store.capacity.evict_oldest() for _ in range(12)))
        assert len(store.generations.newest_first) == 1
        assert await store.read_many(context(), [digest for digest, _ in blobs]) == dict(blobs)


@pytest.mark.parametrize("steps", range(0, 80, 4))
async def test_a_cancelled_rotation_leaves_a_store_that_rotates(tmp_path: Path, steps: int) -> None:
    blobs = [blob(n, size) for n, size in enumerate([500, LARGE] * 3)]
    async with generation_store(tmp_path) as store:
        assert await store.write_many(context("run"), blobs) == {}
        task = asyncio.create_task(rotate(store))
        for _ in range(steps):
            await asyncio.sleep(0)
        task.cancel()
        await asyncio.wait([task])
        assert await store.find_missing(context(), [digest for digest, _ in blobs]) == []
        await rotate(store)
        assert await store.read_many(context(), [digest for digest, _ in blobs]) == dict(blobs)
        assert len([name for name in os.listdir(tmp_path) if name.startswith("gen-")]) == 1


async def test_a_replaced_result_does_not_come_back(tmp_path: Path) -> None:
    clock = ManualClock()
    async with generation_store(tmp_path, clock=clock, lease_seconds=LEASE) as store:
        results = GenerationActionCache(store, EventStream())
        await results.put(context(), ACTION, result(1))
        await store.capacity.start_generation()
        await results.put(context(), ACTION, result(2))
        await store.capacity.start_generation()
        clock.advance(2 * LEASE)
        store.leases.leased()
        store.leases.take_recent()
        middle = store.generations.newest_first[1]
        await store.capacity._evict(middle)
        assert await results.get(context(), ACTION) == Miss(MissReason.ABSENT)


async def test_a_leased_result_is_copied_forward_and_a_newer_one_kept(tmp_path: Path) -> None:
    async with generation_store(tmp_path) as store:
        results = GenerationActionCache(store, EventStream())
        await results.put(context(), ACTION, result(1))
        await rotate(store)
        assert await results.get(context(), ACTION) == Hit(result(1))
        await store.capacity.start_generation()
        await results.put(context(), ACTION, result(2))
        await rotate(store)
        assert await results.get(context(), ACTION) == Hit(result(2))


async def test_of_what_was_used_lately_only_a_part_is_copied_forward(tmp_path: Path) -> None:
    clock = ManualClock()
    blobs = [blob(n, 200 * KIB) for n in range(10)]
    async with generation_store(
        tmp_path, clock=clock, lease_seconds=LEASE, max_bytes=1024 * MIB
    ) as store:
        assert await store.write_many(context("run"), blobs) == {}
        before = store.generations.disk_bytes
        clock.advance(2 * LEASE)
        await rotate(store)
        kept = len(blobs) - len(store.generations.missing([digest for digest, _ in blobs]))
        assert 0 < kept <= 5
        assert store.generations.disk_bytes <= before * 0.6


async def test_what_is_counted_is_what_the_disk_holds(tmp_path: Path) -> None:
    clock = ManualClock()
    async with generation_store(tmp_path, clock=clock, lease_seconds=LEASE) as store:
        for round_number in range(4):
            blobs = [blob(100 * round_number + n, n * 7 * KIB) for n in range(30)]
            assert await store.write_many(context("run"), blobs) == {}
            await rotate(store)
            clock.advance(LEASE * 0.7)
        assert abs(store.capacity.used_bytes - bytes_on_disk(tmp_path)) <= 16 * KIB
        assert [f for f in files_below(tmp_path) if "dead" in f] == []


@pytest.mark.parametrize("steps", [0, 1, 5, 20, 60, 150])
async def test_a_store_closes_while_writers_wait_for_room(tmp_path: Path, steps: int) -> None:
    async with generation_store(tmp_path, max_bytes=2 * MIB, lease_seconds=1e-9) as store:
        writes = [
            asyncio.create_task(stream(store, blob(n, 300 * KIB), f"run {n}")) for n in range(30)
        ]
        for _ in range(steps):
            await asyncio.sleep(0)
    outcomes = await asyncio.gather(*writes, return_exceptions=True)
    assert all(outcome is None or isinstance(outcome, Exception) for outcome in outcomes)
    async with generation_store(tmp_path, max_bytes=2 * MIB, lease_seconds=1e-9) as store:
        for digest, data in (blob(n, 300 * KIB) for n in range(30)):
            assert await store.read_many(context(), [digest]) in ({}, {digest: data})


async def test_a_closed_store_refuses_writes(tmp_path: Path) -> None:
    async with generation_store(tmp_path) as store:
        pass
    with pytest.raises(Draining):
        await store.generations._committer.commit(store.generations.newest.index, Batch())


async def test_an_eviction_works_a_tenth_of_the_time_unless_a_writer_waits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock, blobs, urgent = ManualClock(), [blob(n, 300) for n in range(200)], asyncio.Event()
    async with generation_store(tmp_path, clock=clock, lease_seconds=1e6) as store:
        assert await store.write_many(context("run"), blobs) == {}
        old, commit, commits = store.generations.newest, store.generations.commit, 0
        await store.capacity.start_generation()

        async def slow(generation: Generation, batch: Batch) -> None:
            nonlocal commits
            await commit(generation, batch)
            clock.advance(2.0)
            commits += 1

        monkeypatch.setattr(store.generations, "commit", slow)
        eviction = Eviction(store.generations, old, store.leases, urgent, clock)
        evicting = asyncio.create_task(eviction.run(recent_budget_bytes=0))
        for done in (1, 2):
            await until(lambda: clock.timers)
            assert commits == done
            clock.advance(17.5)
            assert clock.timers == 1, "it rests nine times as long as it worked"
            clock.advance(0.5)
            assert clock.timers == 0
        await until(lambda: clock.timers)
        assert not evicting.done()
        urgent.set()
        await evicting
        assert commits == 4
        assert clock.monotonic() == 4 * 2 + 2 * 18
        assert store.generations.missing([digest for digest, _ in blobs]) == []
