"""What stores say happened is what happened."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from contexts import context
from reapi_local.errors import BlobNotFound, DigestMismatch, StorageFull
from reapi_local.events import (
    BlobQuarantined,
    BlobsRead,
    BlobsWritten,
    CacheUser,
    EntryRemoved,
    EventStream,
    GenerationEvicted,
    LookedUp,
    ResultWritten,
)
from reapi_local.proto import remote_execution_pb2 as re_pb2
from reapi_local.protocol.digest import Digest, digest_of
from reapi_local.protocol.lookup import Hit, Miss, MissReason, StoredResult
from reapi_local.store.action_cache import ActionCache
from reapi_local.store.blob_store import BlobStore
from reapi_local.store.completeness import CompleteActionCache
from reapi_local.store.local.generation_results import GenerationActionCache
from reapi_local.store.local.index import Batch, Table
from reapi_local.store.memory import MemoryActionCache, MemoryStore
from reapi_local.store.observed import ObservedActionCache, ObservedBlobStore
from store.helpers import KIB, LARGE, MIB, blob, generation_store, large_files, stream

ACTION = blob(0, 10)[0]
ME = context("run", "main", "bazel")
ALL = (
    BlobQuarantined,
    BlobsRead,
    BlobsWritten,
    EntryRemoved,
    GenerationEvicted,
    LookedUp,
    ResultWritten,
)


class ClientWentAway(Exception):
    """While it was sent a blob."""


@dataclass
class Recorded:
    """A stream of events, and all that were emitted since this was last asked."""

    stream: EventStream = field(default_factory=EventStream)
    events: list[object] = field(default_factory=list)

    def __post_init__(self) -> None:
        for kind in ALL:
            self.stream.subscribe(kind, self.events.append)

    def take(self) -> list[object]:
        events, self.events[:] = list(self.events), []
        return events


@dataclass
class World:
    """Stores as clients have them."""

    recorded: Recorded
    blobs: BlobStore
    results: ActionCache


def observed(recorded: Recorded, blobs: BlobStore, plain: ActionCache) -> World:
    complete = CompleteActionCache(plain, blobs, recorded.stream)
    return World(
        recorded,
        ObservedBlobStore(blobs, recorded.stream),
        ObservedActionCache(complete, recorded.stream, CacheUser.CLIENT),
    )


@pytest.fixture(params=["memory", "disk"])
async def world(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[World]:
    recorded = Recorded()
    if request.param == "memory":
        yield observed(recorded, MemoryStore(), MemoryActionCache())
        return
    async with generation_store(tmp_path, events=recorded.stream) as store:
        yield observed(recorded, store, GenerationActionCache(store, recorded.stream))


@pytest.fixture
async def recorded() -> Recorded:
    return Recorded()


def naming(*digests: Digest) -> StoredResult:
    files = [
        re_pb2.OutputFile(
            path=f"{number}", digest=re_pb2.Digest(hash=d.hash_hex, size_bytes=d.size_bytes)
        )
        for number, d in enumerate(digests)
    ]
    message = re_pb2.ActionResult(output_files=files)
    return StoredResult(message.SerializeToString(), 1.0, "owner", "run")


async def test_a_look_up_that_finds_nothing_says_so(world: World) -> None:
    outcome = await world.results.get(ME, ACTION)
    assert outcome == Miss(MissReason.ABSENT)
    assert world.recorded.take() == [LookedUp(ME, ACTION, outcome, CacheUser.CLIENT)]


async def test_a_write_and_the_hit_that_it_brings_are_told(world: World) -> None:
    await world.results.put(ME, ACTION, naming())
    assert world.recorded.take() == [ResultWritten(ME, ACTION, naming(), CacheUser.CLIENT)]
    other = context("another run", "main")
    assert await world.results.get(other, ACTION) == Hit(naming())
    assert world.recorded.take() == [LookedUp(other, ACTION, Hit(naming()), CacheUser.CLIENT)]


async def test_an_incomplete_entry_tells_its_missing_blobs_and_its_removal_once(
    world: World,
) -> None:
    held, gone = blob(1, 30), blob(2, 30)[0]
    await world.blobs.write_many(ME, [held])
    await world.results.put(ME, ACTION, naming(held[0], gone))
    world.recorded.take()

    miss = Miss(MissReason.INCOMPLETE, (gone,))
    assert await world.results.get(ME, ACTION) == miss
    assert world.recorded.take() == [
        EntryRemoved(ME, ACTION, MissReason.INCOMPLETE, (gone,)),
        LookedUp(ME, ACTION, miss, CacheUser.CLIENT),
    ]
    await world.results.get(ME, ACTION)
    assert world.recorded.take() == [
        LookedUp(ME, ACTION, Miss(MissReason.ABSENT), CacheUser.CLIENT)
    ]


async def test_an_entry_that_is_none_tells_it_is_corrupt(tmp_path: Path) -> None:
    recorded = Recorded()
    async with generation_store(tmp_path, events=recorded.stream) as store:
        world = observed(recorded, store, GenerationActionCache(store, recorded.stream))
        await world.results.put(ME, ACTION, naming())
        (key,) = store.generations.newest.index.keys(Table.RESULTS)
        torn = Batch(puts=[(Table.RESULTS, key, b"torn")])
        await store.generations.commit(store.generations.newest, torn)
        recorded.take()
        await world.results.get(ME, ACTION)
        assert recorded.take() == [
            EntryRemoved(ME, ACTION, MissReason.CORRUPT, ()),
            LookedUp(ME, ACTION, Miss(MissReason.CORRUPT), CacheUser.CLIENT),
        ]


async def test_a_write_that_fails_is_not_told_as_one(tmp_path: Path) -> None:
    recorded = Recorded()
    async with generation_store(tmp_path, max_bytes=MIB, events=recorded.stream) as store:
        world = observed(recorded, store, GenerationActionCache(store, recorded.stream))
        with pytest.raises(StorageFull):
            await world.results.put(ME, ACTION, StoredResult(b"x" * 2 * MIB, 1.0, "owner", "run"))
        failures = await world.blobs.write_many(ME, [blob(1, 2 * MIB)])
        assert len(failures) == 1
        with pytest.raises(StorageFull):
            await world.blobs.open_write(ME, blob(1, 2 * MIB)[0])
    assert recorded.take() == []


async def test_executions_are_told_apart_from_clients(recorded: Recorded) -> None:
    results = ObservedActionCache(MemoryActionCache(), recorded.stream, CacheUser.EXECUTION)
    await results.put(ME, ACTION, naming())
    await results.get(ME, ACTION)
    assert recorded.take() == [
        ResultWritten(ME, ACTION, naming(), CacheUser.EXECUTION),
        LookedUp(ME, ACTION, Hit(naming()), CacheUser.EXECUTION),
    ]


async def test_blobs_written_together_are_one_event_that_leaves_failures_out(
    world: World,
) -> None:
    good, large, bad = blob(1, 300), blob(2, LARGE), blob(3, 50)[0]
    failures = await world.blobs.write_many(ME, [good, (bad, b"not this"), large])
    assert set(failures) == {bad}
    assert world.recorded.take() == [BlobsWritten(ME, 2, 300 + LARGE)]
    assert await world.blobs.write_many(ME, [good]) == {}
    assert world.recorded.take() == [BlobsWritten(ME, 1, 300)], "those that were there count"


async def test_blobs_read_together_are_one_event_that_leaves_absent_ones_out(
    world: World,
) -> None:
    small, large = blob(1, 300), blob(2, LARGE)
    await world.blobs.write_many(ME, [small, large])
    world.recorded.take()
    await world.blobs.read_many(ME, [small[0], blob(3, 9)[0], large[0]])
    assert world.recorded.take() == [BlobsRead(ME, 2, 300 + LARGE)]


@pytest.mark.parametrize("size", [300, LARGE])
async def test_a_stream_counts_as_what_of_it_was_read(world: World, size: int) -> None:
    digest, data = blob(1, size)
    await world.blobs.write_many(ME, [(digest, data)])
    world.recorded.take()
    async with world.blobs.open_read(ME, digest) as reader:
        while await reader.read(50_000):
            assert world.recorded.take() == [], "it isn't at its end"
    assert world.recorded.take() == [BlobsRead(ME, 1, size)]
    async with world.blobs.open_read(ME, digest, 100, 50) as reader:
        assert len(await reader.read(1000)) == 50
    assert world.recorded.take() == [BlobsRead(ME, 1, 50)]
    with suppress(ClientWentAway):
        async with world.blobs.open_read(ME, digest) as reader:
            await reader.read(10)
            raise ClientWentAway
    assert world.recorded.take() == [BlobsRead(ME, 1, 10)]
    with pytest.raises(BlobNotFound):
        async with world.blobs.open_read(ME, blob(9, size)[0]):
            pass
    assert world.recorded.take() == []


@pytest.mark.parametrize("size", [300, LARGE])
async def test_a_blob_that_streams_in_counts_once_it_is_committed(world: World, size: int) -> None:
    data = blob(1, size)
    with pytest.raises(DigestMismatch):
        await stream(world.blobs, (data[0], blob(2, size)[1]), "run")
    writer = await world.blobs.open_write(ME, data[0])
    await writer.write(data[1])
    await writer.discard()
    assert world.recorded.take() == []
    writer = await world.blobs.open_write(ME, data[0])
    await writer.write(data[1])
    assert world.recorded.take() == []
    await writer.commit()
    await writer.discard()
    assert world.recorded.take() == [BlobsWritten(ME, 1, size)]


async def test_being_asked_whether_blobs_are_there_is_no_read(world: World) -> None:
    data = blob(1, 300)
    await world.blobs.write_many(ME, [data])
    world.recorded.take()
    assert await world.blobs.find_missing(ME, [data[0]]) == []
    assert world.recorded.take() == []


async def test_an_evicted_generation_tells_what_the_disk_held_before_and_after(
    tmp_path: Path, recorded: Recorded
) -> None:
    async with generation_store(tmp_path, events=recorded.stream, lease_seconds=1e-9) as store:
        await store.write_many(ME, [blob(1, 300 * KIB)])
        await store.capacity.start_generation()
        before = store.generations.disk_bytes
        await store.capacity.evict_oldest()
        after = store.generations.disk_bytes
        assert recorded.take() == [GenerationEvicted(1, before, after)]
        assert before - after > 300 * KIB
        await store.capacity.evict_oldest()
        assert recorded.take() == [], "the newest stays"


async def test_room_that_is_made_for_a_write_is_told_too(
    tmp_path: Path, recorded: Recorded
) -> None:
    async with generation_store(
        tmp_path, max_bytes=4 * MIB, events=recorded.stream, lease_seconds=1e-9
    ) as store:
        for number in range(10):
            await stream(store, blob(number, 900 * KIB))
        await store.capacity.settle()
        evicted = [event for event in recorded.take() if isinstance(event, GenerationEvicted)]
        numbers = [event.number for event in evicted]
        assert numbers == sorted(set(numbers))
        assert len(numbers) >= 3
        assert all(event.bytes_after < event.bytes_before <= 6 * MIB for event in evicted)


async def test_a_corrupt_small_blob_is_told_once_with_where_it_was(
    tmp_path: Path, recorded: Recorded
) -> None:
    digest, data = blob(1, 300)
    async with generation_store(tmp_path, events=recorded.stream) as store:
        await store.write_many(ME, [(digest, data)])
        newest = store.generations.newest
        corrupt = Batch(puts=[(Table.BLOBS, digest, b"x" * 300)])
        await store.generations.commit(newest, corrupt)
        for _ in range(2):
            assert await store.read_many(ME, [digest]) == {}
        assert recorded.take() == [BlobQuarantined(digest, newest.path)]


async def test_a_corrupt_file_is_told_once_and_kept(tmp_path: Path, recorded: Recorded) -> None:
    digest, data = blob(1, LARGE)
    async with generation_store(tmp_path, events=recorded.stream) as store:
        await store.write_many(ME, [(digest, data)])
        (path,) = large_files(tmp_path)
        os.truncate(path, 10)
        for _ in range(2):
            assert await store.read_many(ME, [digest]) == {}
        assert recorded.take() == [BlobQuarantined(digest, store.generations.newest.path)]
        assert os.listdir(store.generations.quarantine) == [os.path.basename(path)]


async def test_a_subscriber_that_raises_keeps_no_store_from_its_work(tmp_path: Path) -> None:
    events = EventStream()

    def broken(event: object) -> None:
        raise RuntimeError("a subscriber's own trouble")

    for kind in ALL:
        events.subscribe(kind, broken)
    async with generation_store(tmp_path, events=events, lease_seconds=1e-9) as store:
        blobs = ObservedBlobStore(store, events)
        results = ObservedActionCache(
            CompleteActionCache(GenerationActionCache(store, events), store, events),
            events,
            CacheUser.CLIENT,
        )
        data = blob(1, 300)
        assert await blobs.write_many(ME, [data]) == {}
        assert await blobs.read_many(ME, [data[0]]) == dict([data])
        await results.put(ME, ACTION, naming(digest_of(b"gone")))
        assert isinstance(await results.get(ME, ACTION), Miss)
        assert await results.get(ME, ACTION) == Miss(MissReason.ABSENT)
        await store.capacity.start_generation()
        await store.capacity.evict_oldest()
        assert len(store.generations.newest_first) == 1
