"""A lookup that finds an entry incomplete or corrupt removes that entry, and no newer one."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from contexts import context
from reapi_local.context import Context
from reapi_local.events import EntryRemoved, EventStream
from reapi_local.proto import remote_execution_pb2 as re_pb2
from reapi_local.protocol.digest import Digest, digest_of
from reapi_local.protocol.lookup import Hit, Lookup, Miss, MissReason, StoredResult
from reapi_local.store.action_cache import ActionCache
from reapi_local.store.blob_store import Blob, BlobStore
from reapi_local.store.completeness import CompleteActionCache
from reapi_local.store.local.generation import Generation
from reapi_local.store.local.generation_results import GenerationActionCache
from reapi_local.store.local.generation_store import GenerationStore
from reapi_local.store.local.index import Batch, Table
from reapi_local.store.memory import MemoryActionCache, MemoryStore
from reapi_local.store.observed import ObservedBlobStore
from store.helpers import blob, generation_store, write

ACTION = blob(0, 10)[0]
ABSENT = Miss(MissReason.ABSENT)
GONE = digest_of(b"gone")
NO_TREE = (digest_of(b"\xff"), b"\xff")


def message(digest: Digest) -> re_pb2.Digest:
    return re_pb2.Digest(hash=digest.hash_hex, size_bytes=digest.size_bytes)


TREE = re_pb2.Tree(
    root=re_pb2.Directory(files=[re_pb2.FileNode(name="f", digest=message(GONE))])
).SerializeToString()


def naming_tree(tree: Digest) -> StoredResult:
    directory = re_pb2.OutputDirectory(path="d", tree_digest=message(tree))
    result = re_pb2.ActionResult(output_directories=[directory])
    return StoredResult(result.SerializeToString(), 1.0, "owner", "old run")


INCOMPLETE = naming_tree(digest_of(TREE))
CORRUPT = naming_tree(NO_TREE[0])
NEWER = StoredResult(re_pb2.ActionResult(exit_code=1).SerializeToString(), 2.0, "owner", "new run")
BAD = pytest.mark.parametrize(
    ("old", "miss"),
    [(INCOMPLETE, Miss(MissReason.INCOMPLETE, (GONE,))), (CORRUPT, Miss(MissReason.CORRUPT))],
    ids=["incomplete", "corrupt"],
)


class GatedBlobs(ObservedBlobStore):
    """Whoever reads from it waits at a gate."""

    def __init__(self, blobs: BlobStore) -> None:
        super().__init__(blobs, EventStream())
        self.reading, self.go_on = asyncio.Event(), asyncio.Event()

    async def read_many(
        self, context: Context, digests: Sequence[Digest]
    ) -> Mapping[Digest, bytes]:
        self.reading.set()
        await self.go_on.wait()
        return await super().read_many(context, digests)


@dataclass
class World:
    """An action cache with what it is made of, and the entries it says it removed."""

    plain: ActionCache
    blobs: BlobStore
    events: EventStream
    store: GenerationStore | None
    removed: list[EntryRemoved] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.events.subscribe(EntryRemoved, self.removed.append)

    async def get(self) -> Lookup:
        return await CompleteActionCache(self.plain, self.blobs, self.events).get(context(), ACTION)

    async def put(self, stored: StoredResult) -> None:
        await self.plain.put(context(stored.invocation), ACTION, stored)

    @asynccontextmanager
    async def look_up_under_way(self) -> AsyncIterator[asyncio.Task[Lookup]]:
        """Within the block a lookup has found the entry, and waits for what it names."""
        gated = GatedBlobs(self.blobs)
        cache = CompleteActionCache(self.plain, gated, self.events)
        looking = asyncio.create_task(cache.get(context("reader"), ACTION))
        await gated.reading.wait()
        try:
            yield looking
        finally:
            gated.go_on.set()
            await looking


@asynccontextmanager
async def world_of(kind: str, root: Path) -> AsyncIterator[World]:
    events = EventStream()
    blobs: list[Blob] = [(digest_of(TREE), TREE), NO_TREE]
    if kind == "memory":
        world = World(MemoryActionCache(), MemoryStore(), events, None)
        for data in blobs:
            await write(world.blobs, data)
        yield world
        return
    async with generation_store(root, events=events) as store:
        for data in blobs:
            await write(store, data)
        yield World(GenerationActionCache(store, events), store, events, store)


@pytest.fixture(params=["memory", "disk"])
async def world(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[World]:
    async with world_of(request.param, tmp_path) as world:
        yield world


@pytest.fixture
async def disk(tmp_path: Path) -> AsyncIterator[tuple[World, GenerationStore]]:
    async with world_of("disk", tmp_path) as world:
        assert world.store is not None
        yield world, world.store


def held(store: GenerationStore) -> list[int]:
    """How many results each generation holds, the newest first."""
    return [len(g.index.keys(Table.RESULTS)) for g in store.generations.newest_first]


@BAD
async def test_a_bad_entry_that_nobody_replaced_is_removed_once(
    world: World, old: StoredResult, miss: Miss
) -> None:
    await world.put(old)
    assert await world.get() == miss
    assert await world.get() == ABSENT
    assert [(e.action, e.reason, e.missing) for e in world.removed] == [
        (ACTION, miss.reason, miss.missing)
    ]


@BAD
async def test_an_entry_written_while_its_predecessor_is_found_bad_stays(
    world: World, old: StoredResult, miss: Miss
) -> None:
    await world.put(old)
    async with world.look_up_under_way() as looking:
        await world.put(NEWER)
    assert await looking == miss, "it is told of the entry that it found"
    assert await world.get() == Hit(NEWER)
    assert world.removed == []


async def test_an_equal_entry_written_by_another_run_is_another_entry(world: World) -> None:
    await world.put(INCOMPLETE)
    again = StoredResult(INCOMPLETE.result, 2.0, "owner", "new run")
    async with world.look_up_under_way():
        await world.put(again)
        await write(world.blobs, (GONE, b"gone"))
    assert await world.get() == Hit(again)


async def test_two_look_ups_at_once_remove_an_entry_once(world: World) -> None:
    await world.put(INCOMPLETE)
    async with world.look_up_under_way() as one, world.look_up_under_way() as other:
        pass
    miss = Miss(MissReason.INCOMPLETE, (GONE,))
    assert (await one, await other) == (miss, miss)
    assert len(world.removed) == 1
    assert await world.get() == ABSENT


@BAD
async def test_an_entry_in_a_newer_generation_stays(
    disk: tuple[World, GenerationStore], old: StoredResult, miss: Miss
) -> None:
    world, store = disk
    await world.put(old)
    async with world.look_up_under_way() as looking:
        await store.capacity.start_generation()
        await world.put(NEWER)
    assert await looking == miss
    assert await world.get() == Hit(NEWER)
    assert held(store) == [1, 0], "what it replaced is gone, and can't come back"


@BAD
async def test_a_newer_entry_stays_while_the_generation_of_the_old_one_goes(
    disk: tuple[World, GenerationStore], old: StoredResult, miss: Miss
) -> None:
    world, store = disk
    await world.put(old)
    async with world.look_up_under_way() as looking:
        await store.capacity.start_generation()
        await world.put(NEWER)
        await store.capacity.evict_oldest()
    assert await looking == miss
    assert await world.get() == Hit(NEWER)
    await store.capacity.start_generation()
    await store.capacity.evict_oldest()
    assert await world.get() == Hit(NEWER)


@BAD
async def test_a_newer_entry_stays_where_the_old_one_was_copied_to(
    disk: tuple[World, GenerationStore], old: StoredResult, miss: Miss
) -> None:
    world, store = disk
    await world.put(old)
    async with world.look_up_under_way() as looking:
        await store.capacity.start_generation()
        await store.capacity.evict_oldest()
        assert held(store) == [1], "the old entry was copied"
        await world.put(NEWER)
    assert await looking == miss
    assert await world.get() == Hit(NEWER)


@BAD
async def test_a_bad_entry_is_removed_from_where_it_was_copied_to(
    disk: tuple[World, GenerationStore], old: StoredResult, miss: Miss
) -> None:
    world, store = disk
    await world.put(old)
    async with world.look_up_under_way() as looking:
        await store.capacity.start_generation()
        await store.capacity.evict_oldest()
    assert await looking == miss
    assert held(store) == [0]
    assert len(world.removed) == 1


@BAD
async def test_a_bad_entry_is_removed_from_every_generation_that_has_it(
    disk: tuple[World, GenerationStore], old: StoredResult, miss: Miss
) -> None:
    world, store = disk
    await world.put(old)
    (generation,) = store.generations.newest_first
    ((key, value),) = generation.index.get_many(
        Table.RESULTS, generation.index.keys(Table.RESULTS)
    ).items()
    for _ in range(2):  # as an eviction leaves it between its copy and its end
        await store.capacity.start_generation()
        copy = Batch(put_if_absent=[(Table.RESULTS, key, value)])
        await store.generations.commit(store.generations.newest, copy)
    assert held(store) == [1, 1, 1]
    assert await world.get() == miss
    assert held(store) == [0, 0, 0]
    assert len(world.removed) == 1


async def test_generations_that_go_while_an_entry_is_removed_do_no_harm(
    disk: tuple[World, GenerationStore], monkeypatch: pytest.MonkeyPatch
) -> None:
    world, store = disk
    await store.capacity.start_generation()
    await world.put(INCOMPLETE)
    commit = store.generations.commit

    async def after_an_eviction(generation: Generation, batch: Batch) -> None:
        monkeypatch.setattr(store.generations, "commit", commit)
        await store.capacity.evict_oldest()
        await commit(generation, batch)

    async with world.look_up_under_way() as looking:
        monkeypatch.setattr(store.generations, "commit", after_an_eviction)
    assert await looking == Miss(MissReason.INCOMPLETE, (GONE,))
    assert held(store) == [0]


@BAD
async def test_a_bad_entry_that_an_eviction_has_read_does_not_come_back(
    disk: tuple[World, GenerationStore],
    old: StoredResult,
    miss: Miss,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    world, store = disk
    await world.put(old)
    await store.capacity.start_generation()
    commit = store.generations.commit

    async def after_a_look_up(generation: Generation, batch: Batch) -> None:
        monkeypatch.setattr(store.generations, "commit", commit)
        assert batch.copied, "the eviction has read the entry"
        assert await world.get() == miss
        await commit(generation, batch)

    monkeypatch.setattr(store.generations, "commit", after_a_look_up)
    await store.capacity.evict_oldest()
    assert held(store) == [0]
    assert len(world.removed) == 1


async def test_bytes_that_are_no_entry_are_compared_before_they_are_removed(
    disk: tuple[World, GenerationStore], monkeypatch: pytest.MonkeyPatch
) -> None:
    world, store = disk
    await world.put(NEWER)
    newest = store.generations.newest
    (key,) = newest.index.keys(Table.RESULTS)
    await store.generations.commit(newest, Batch(puts=[(Table.RESULTS, key, b"torn")]))
    commit = store.generations.commit

    async def after_a_put(generation: Generation, batch: Batch) -> None:
        monkeypatch.setattr(store.generations, "commit", commit)
        await world.put(NEWER)
        await commit(generation, batch)

    monkeypatch.setattr(store.generations, "commit", after_a_put)
    assert await world.get() == Miss(MissReason.CORRUPT)
    assert await world.get() == Hit(NEWER)
    assert world.removed == []


async def test_bytes_that_are_no_entry_are_removed_once(
    disk: tuple[World, GenerationStore],
) -> None:
    world, store = disk
    await world.put(NEWER)
    (key,) = store.generations.newest.index.keys(Table.RESULTS)
    torn = Batch(puts=[(Table.RESULTS, key, b"torn")])
    await store.generations.commit(store.generations.newest, torn)
    assert await world.get() == Miss(MissReason.CORRUPT)
    assert await world.get() == ABSENT
    assert [event.reason for event in world.removed] == [MissReason.CORRUPT]
