"""A disk that is really full. Needs root, to mount a small one."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from contexts import context
from file_systems import small_file_system
from reapi_local.clock import ManualClock
from reapi_local.errors import ReapiError, StorageFull
from reapi_local.events import EventStream
from reapi_local.protocol.digest import Digest
from reapi_local.protocol.lookup import Hit, StoredResult
from reapi_local.store.blob_store import Blob
from reapi_local.store.local.generation_results import GenerationActionCache
from reapi_local.store.local.generation_store import GenerationStore
from reapi_local.store.local.rotation import StoreLimits
from store.helpers import KIB, LARGE, MIB, blob, read, stream, write

LIMITS = StoreLimits(1024 * MIB)


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 8 MiB."""
    with small_file_system(tmp_path / "disk", "size=8m") as path:
        yield path


def fill(disk: Path, leave_bytes: int = 0) -> None:
    """Others take all the room but so much."""
    stat = os.statvfs(disk)
    with open(disk / "others", "wb", buffering=0) as file:
        file.write(bytes(stat.f_bavail * stat.f_frsize - leave_bytes))


def make_room(disk: Path) -> None:
    os.unlink(disk / "others")


async def write_until_refused(store: GenerationStore, size: int) -> list[Blob]:
    """The blobs that were acknowledged."""
    told: list[Blob] = []
    while True:
        data = blob(size * 10_000 + len(told), size)
        failures = await store.write_many(context("run"), [data])
        if failures:
            assert isinstance(failures[data[0]], StorageFull)
            return told
        told.append(data)


@pytest.mark.parametrize("durable", [True, False])
@pytest.mark.parametrize("size", [300, 30 * KIB, LARGE, 300 * KIB])
async def test_a_full_disk_refuses_writes_loses_nothing_and_recovers(
    disk: Path, size: int, durable: bool
) -> None:
    clock = ManualClock()
    store = GenerationStore(str(disk / "store"), LIMITS, clock, EventStream(), durable=durable)
    fill(disk, leave_bytes=2 * MIB)
    told = await write_until_refused(store, size)
    assert sum(len(data) for _, data in told) > MIB // 4
    assert os.listdir(store.generations.incoming) == []
    assert store.capacity.used_bytes == store.generations.disk_bytes
    for digest, data in told:
        assert await read(store, digest) == data

    make_room(disk)
    clock.advance(2)
    later = blob(1, size)
    await write(store, later)
    await store.close()
    store = GenerationStore(str(disk / "store"), LIMITS, clock, EventStream(), durable=durable)
    for digest, data in [*told, later]:
        assert await read(store, digest) == data
    await store.close()


async def test_no_generation_begins_on_a_full_disk_and_the_process_lives(disk: Path) -> None:
    store = GenerationStore(str(disk / "store"), LIMITS, ManualClock(), EventStream(), durable=True)
    data = blob(1, 500)
    await write(store, data)
    for leave_bytes in (0, 4 * KIB, 12 * KIB, 24 * KIB):
        fill(disk, leave_bytes)
        with pytest.raises(StorageFull):
            await store.capacity.start_generation()
        assert await read(store, data[0]) == data[1]
        make_room(disk)
    await store.capacity.start_generation()
    await store.capacity.evict_oldest()
    assert await read(store, data[0]) == data[1]
    await store.close()


async def test_a_generation_that_can_t_be_copied_stays(disk: Path) -> None:
    store = GenerationStore(str(disk / "store"), LIMITS, ManualClock(), EventStream(), durable=True)
    blobs = dict(blob(n, 60 * KIB) for n in range(30)) | dict([blob(99, LARGE)])
    assert await store.write_many(context("run"), list(blobs.items())) == {}
    await store.capacity.start_generation()
    fill(disk, leave_bytes=200 * KIB)
    with pytest.raises(StorageFull):
        await store.capacity.evict_oldest()
    assert await store.read_many(context(), list(blobs)) == blobs
    make_room(disk)
    await store.capacity.evict_oldest()
    assert len(store.generations.newest_first) == 1
    assert await store.read_many(context(), list(blobs)) == blobs
    await store.close()


async def test_what_nobody_needs_goes_when_others_fill_the_disk(disk: Path) -> None:
    clock = ManualClock()
    limits = StoreLimits(1024 * MIB, min_free_bytes=2 * MIB, lease_seconds=100)
    store = GenerationStore(str(disk / "store"), limits, clock, EventStream(), durable=True)
    for number in range(12):
        await write(store, blob(number, 300 * KIB), "forgotten")
    clock.advance(1000)
    kept = blob(100, 300 * KIB)
    await write(store, kept, "run")
    fill(disk, leave_bytes=MIB)
    store.leases.take_recent()
    await stream(store, blob(101, 300 * KIB), "run")
    assert await read(store, kept[0], "run") == kept[1]
    await store.close()


async def test_a_full_disk_refuses_results_and_opens_again(disk: Path) -> None:
    store = GenerationStore(str(disk / "store"), LIMITS, ManualClock(), EventStream(), durable=True)
    results, told, refused = (
        GenerationActionCache(store, EventStream()),
        dict[Digest, bytes](),
        None,
    )
    fill(disk, leave_bytes=100 * KIB)
    while refused is None:
        digest, data = blob(len(told), 4000)
        try:
            await results.put(context("run"), digest, StoredResult(data, 0.0, "owner", "run"))
            told[digest] = data
        except ReapiError as error:
            refused = error
    assert isinstance(refused, StorageFull)
    await store.close()
    store = GenerationStore(str(disk / "store"), LIMITS, ManualClock(), EventStream(), durable=True)
    for digest, data in told.items():
        found = await GenerationActionCache(store, EventStream()).get(context(), digest)
        assert isinstance(found, Hit)
        assert found.stored.result == data
    await store.close()
