"""The promise of the store while operations and retirements interleave within each other."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from contexts import context
from reapi_local.clock import ManualClock
from reapi_local.errors import BlobNotFound, StorageFull
from reapi_local.events import EventStream
from reapi_local.proto import remote_execution_pb2 as re_pb2
from reapi_local.protocol.digest import Digest
from reapi_local.protocol.lookup import Hit, StoredResult
from reapi_local.store.local.generation_store import GenerationStore
from reapi_local.store.local.rotation import StoreLimits
from store.helpers import (
    FILE_MAPS,
    KIB,
    LARGE,
    MIB,
    blob,
    bytes_on_disk,
    complete_cache,
    large_files,
)
from store.simulation import Loop, make_simulated, simulate

SIZES = (1, 700, 5 * KIB, 60 * KIB, LARGE)
BLOBS = dict(blob(n, SIZES[n % len(SIZES)] + n) for n in range(40))
DIGESTS = list(BLOBS)
ACTIONS = DIGESTS[:3]


class World:
    """Clients that do random things and remember what they were told."""

    def __init__(self, store: GenerationStore, loop: Loop) -> None:
        self.store, self.loop, self.random = store, loop, loop.random
        self.cache = complete_cache(store, EventStream())
        self.told: set[Digest] = set()
        self.puts = 0
        self.acknowledged: dict[Digest, int] = {}
        self.one_at_a_time = {action: asyncio.Lock() for action in ACTIONS}

    async def client(self, run: str) -> None:
        steps = [self.find, self.write, self.upload, self.read, self.stream, self.put, self.get]
        for _ in range(12):
            await self.random.choice(steps)(run, self.random.sample(DIGESTS, 3))

    async def find(self, run: str, digests: list[Digest]) -> None:
        expected = self.told & set(digests)
        missing = await self.store.find_missing(context(run), digests)
        assert not expected & set(missing)
        self.told |= set(digests).difference(missing)

    async def write(self, run: str, digests: list[Digest]) -> None:
        failures = await self.store.write_many(context(run), [(d, BLOBS[d]) for d in digests])
        assert all(isinstance(error, StorageFull) for error in failures.values())
        self.told |= set(digests).difference(failures)

    async def upload(self, run: str, digests: list[Digest]) -> None:
        try:
            writer = await self.store.open_write(context(run), digests[0])
            try:
                await writer.write(BLOBS[digests[0]])
                if self.random.random() < 0.8:
                    await writer.commit()
                    self.told.add(digests[0])
            finally:
                await writer.discard()
        except StorageFull:
            pass

    async def read(self, run: str, digests: list[Digest]) -> None:
        expected = self.told & set(digests)
        found = await self.store.read_many(context(run), digests)
        assert all(data == BLOBS[digest] for digest, data in found.items())
        assert expected <= set(found)
        self.told |= set(found)

    async def stream(self, run: str, digests: list[Digest]) -> None:
        expected, data = digests[0] in self.told, b""
        try:
            async with self.store.open_read(context(run), digests[0]) as reader:
                self.told.add(digests[0])
                while piece := await reader.read(30_000):
                    data += piece
                    await asyncio.sleep(0)
            assert data == BLOBS[digests[0]]
        except BlobNotFound:
            assert not expected

    async def put(self, run: str, digests: list[Digest]) -> None:
        action = self.random.choice(ACTIONS)
        async with self.one_at_a_time[action]:
            await self._put(action, run, digests)

    async def _put(self, action: Digest, run: str, digests: list[Digest]) -> None:
        self.puts = number = self.puts + 1
        outputs = [
            re_pb2.OutputFile(
                path=d.hash_hex, digest=re_pb2.Digest(hash=d.hash_hex, size_bytes=d.size_bytes)
            )
            for d in digests
            if d in self.told
        ]
        result = re_pb2.ActionResult(exit_code=number, output_files=outputs)
        try:
            stored = StoredResult(result.SerializeToString(), 0, "", run)
            await self.cache.put(context(run), action, stored)
        except StorageFull:
            return
        self.acknowledged[action] = number

    async def get(self, run: str, digests: list[Digest]) -> None:
        action = self.random.choice(ACTIONS)
        at_least = self.acknowledged.get(action)
        found = await self.cache.get(context(run), action)
        assert isinstance(found, Hit) or at_least is None, "its outputs are leased, and so is it"
        if isinstance(found, Hit):
            result = found.result
            assert at_least is None or result.exit_code >= at_least, "it had been replaced"
            self.told |= {d for d in DIGESTS for o in result.output_files if o.path == d.hash_hex}

    async def operator(self) -> None:
        """Rotate all the time."""
        for _ in range(8):
            for _ in range(self.random.randrange(100)):
                await asyncio.sleep(0)
            await self.store.capacity.start_generation()
            for _ in range(self.random.randrange(3)):
                await self.store.capacity.evict_oldest()

    async def watch(self, others: list[asyncio.Task[None]]) -> None:
        """At each turn of the loop all that was told is there."""
        while not all(task.done() for task in others):
            assert self.store.generations.missing(sorted(self.told)) == []
            await asyncio.sleep(0)


@pytest.mark.parametrize("max_bytes", [64 * MIB, MIB])
@pytest.mark.parametrize("seed", range(60))
def test_no_interleaving_breaks_the_promise(tmp_path: Path, seed: int, max_bytes: int) -> None:
    async def work(loop: Loop) -> None:
        clock = ManualClock()
        limits = StoreLimits(max_bytes)
        store = GenerationStore(str(tmp_path), limits, clock, EventStream(), durable=False)
        make_simulated(store, loop)
        await store.write_many(context("a run of yesterday"), list(BLOBS.items())[::2])
        clock.advance(86_400)
        world = World(store, loop)
        tasks = [loop.create_task(world.client(f"run {n}" if n else "")) for n in range(5)]
        tasks.append(loop.create_task(world.operator()))
        await asyncio.gather(*tasks, world.watch(tasks))

        await store.capacity.settle()
        assert store.capacity.used_bytes == store.generations.disk_bytes
        assert await store.read_many(context(), list(world.told)) == {
            d: BLOBS[d] for d in world.told
        }
        for action in world.acknowledged:
            assert isinstance(await world.cache.get(context(), action), Hit)
        indexed = sum(
            store.generations.missing([d]) == [] for d in DIGESTS if d.size_bytes > 64 * KIB
        )
        assert len({path.rsplit("/", 1)[1] for path in large_files(tmp_path)}) == indexed
        while len(store.generations.newest_first) > 1:
            await store.capacity.evict_oldest()
        assert bytes_on_disk(tmp_path) <= store.generations.disk_bytes + FILE_MAPS
        await store.close()

    simulate(seed, work)
