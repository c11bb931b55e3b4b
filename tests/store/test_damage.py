"""What the disk damaged is never served, and can be uploaded again."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from pathlib import Path

import lmdb
import pytest

from contexts import context
from reapi_local.errors import BlobNotFound
from reapi_local.events import EventStream
from reapi_local.protocol.lookup import Hit, Miss, MissReason, StoredResult
from reapi_local.store.blob_store import Blob
from reapi_local.store.local.generation_results import GenerationActionCache
from reapi_local.store.local.generation_store import GenerationStore
from reapi_local.store.local.index import Batch, Table
from store.helpers import (
    LARGE,
    MIB,
    blob,
    complete_cache,
    generation_store,
    large_files,
    open_files_below,
    read,
    write,
)

ACTION = blob(0, 10)[0]


def flip(path: str) -> None:
    with open(path, "r+b") as file:
        file.seek(LARGE // 2)
        byte = file.read(1)
        file.seek(LARGE // 2)
        file.write(bytes((byte[0] ^ 1,)))


def truncate(path: str) -> None:
    os.truncate(path, LARGE - 1)


def make_empty(path: str) -> None:
    os.truncate(path, 0)


def place(path: str, data: bytes) -> None:
    os.makedirs(os.path.dirname(path))
    with open(path, "wb") as file:
        file.write(data)


def plain_cache(store: GenerationStore) -> GenerationActionCache:
    return GenerationActionCache(store, EventStream())


DAMAGES = [flip, truncate, make_empty, os.unlink]


def edit(root: Path, table: Table, change: Callable[[bytes], bytes]) -> None:
    """Change every value of a table behind the back of a closed store."""
    (generation,) = root.glob("gen-*")
    with lmdb.open(str(generation), max_dbs=3) as env, env.begin(write=True) as txn:
        db = env.open_db(table.value, txn=txn)
        for key, value in list(txn.cursor(db)):
            txn.put(key, change(value), db=db)


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("reopen", [True, False])
async def test_a_damaged_file_is_not_served_and_can_be_uploaded_again(
    tmp_path: Path, damage: Callable[[str], None], reopen: bool
) -> None:
    root, data, other = tmp_path / "store", blob(1, LARGE), blob(2, LARGE)
    async with generation_store(root) as store:
        await write(store, data)
        if not reopen:
            assert await read(store, data[0]) == data[1]
            damage(large_files(root)[0])
            await check(root, store, data)
    if reopen:
        damage(large_files(root)[0])
        async with generation_store(root) as store:
            await write(store, other)
            await check(root, store, data)
    kept = os.listdir(root / "quarantine")
    assert len(kept) == (damage is not os.unlink), "it is kept for inspection"


async def check(root: Path, store: GenerationStore, data: Blob) -> None:
    with pytest.raises(BlobNotFound):
        await read(store, data[0])
    assert await store.find_missing(context(), [data[0]]) == [data[0]]
    assert await store.read_many(context(), [data[0]]) == {}
    assert open_files_below(root) == []
    await write(store, data)
    assert await read(store, data[0]) == data[1]


async def test_a_damaged_small_blob_is_not_served_and_can_be_uploaded_again(
    tmp_path: Path,
) -> None:
    blobs = dict(blob(n, 10 + 700 * n) for n in range(20))
    async with generation_store(tmp_path) as store:
        assert await store.write_many(context(), list(blobs.items())) == {}
    edit(tmp_path, Table.BLOBS, lambda value: value[:-1] + bytes((value[-1] ^ 1,)))
    async with generation_store(tmp_path) as store:
        assert await store.read_many(context(), list(blobs)) == {}
        assert await store.find_missing(context(), list(blobs)) == list(blobs)
        assert await store.write_many(context(), list(blobs.items())) == {}
        assert await store.read_many(context(), list(blobs)) == blobs


async def test_an_older_sound_copy_is_found_behind_a_damaged_one(tmp_path: Path) -> None:
    for data in (blob(1, 500), blob(2, LARGE)):
        root = tmp_path / str(len(data[1]))
        async with generation_store(root) as store:
            await write(store, data)
            await store.capacity.start_generation()
            bad = b"x" * len(data[1])
            if len(bad) == LARGE:
                path = store.generations.newest.files.path(data[0])
                place(path, bad)
                batch = Batch(large=[(data[0], LARGE)])
            else:
                batch = Batch(puts=[(Table.BLOBS, data[0], bad)])
            await store.generations.commit(store.generations.newest, batch)
            assert await read(store, data[0]) == data[1]


async def test_damage_is_not_copied_over_a_good_upload(tmp_path: Path) -> None:
    data = blob(1, 500)
    async with generation_store(tmp_path) as store:
        await write(store, data, "run")
        old = store.generations.newest
        await store.generations.commit(old, Batch(puts=[(Table.BLOBS, data[0], b"x" * 500)]))
        await store.capacity.start_generation()
        await store.capacity.evict_oldest()
        assert await store.find_missing(context(), [data[0]]) == [data[0]]
        await write(store, data)
        assert await read(store, data[0]) == data[1]


@pytest.mark.parametrize(
    "change", [lambda v: v[:-1], lambda v: b"", lambda v: v[:20] + b"z" + v[21:]]
)
async def test_a_damaged_result_is_a_miss_and_can_be_put_again(
    tmp_path: Path, change: Callable[[bytes], bytes]
) -> None:
    result = StoredResult(b"\x20\x05" + b"\x2a\x10" + b"o" * 16, 0.0, "owner", "run")
    async with generation_store(tmp_path) as store:
        await plain_cache(store).put(context(), ACTION, result)
    edit(tmp_path, Table.RESULTS, change)
    async with generation_store(tmp_path) as store:
        complete = complete_cache(store, EventStream())
        assert await complete.get(context(), ACTION) == Miss(MissReason.CORRUPT)
        for cache in (complete, plain_cache(store)):
            assert await cache.get(context(), ACTION) == Miss(MissReason.ABSENT)
        await plain_cache(store).put(context(), ACTION, result)
        assert await plain_cache(store).get(context(), ACTION) == Hit(result)


@pytest.mark.parametrize("steps", range(0, 40, 2))
@pytest.mark.parametrize("damage", DAMAGES)
async def test_a_blob_uploaded_again_is_not_taken_for_the_damaged_one(
    tmp_path: Path, damage: Callable[[str], None], steps: int
) -> None:
    data = blob(1, 2 * MIB)
    async with generation_store(tmp_path) as store:
        await write(store, data)
        damage(large_files(tmp_path)[0])
        readers = []
        for _ in range(4):
            readers.append(asyncio.create_task(store.read_many(context(), [data[0]])))
            for _ in range(steps):
                await asyncio.sleep(0)
        for found in await asyncio.gather(readers[0]):
            assert found in ({}, dict([data]))
        while await store.find_missing(context(), [data[0]]):
            await write(store, data)
        await asyncio.gather(*readers)
        assert await read(store, data[0]) == data[1]


@pytest.mark.parametrize("steps", range(0, 60, 3))
async def test_damage_found_while_its_generation_goes_does_no_harm(
    tmp_path: Path, steps: int
) -> None:
    data, kept = blob(1, MIB), blob(2, 500)
    async with generation_store(tmp_path, lease_seconds=1e-9) as store:
        await write(store, data)
        flip(large_files(tmp_path)[0])
        await store.capacity.start_generation()
        await write(store, kept)
        reader = asyncio.create_task(store.read_many(context(), [data[0]]))
        for _ in range(steps):
            await asyncio.sleep(0)
        await asyncio.gather(store.capacity.evict_oldest(), store.capacity.evict_oldest())
        assert await reader == {}
        assert await store.read_many(context(), [data[0], kept[0]]) == dict([kept])
        assert open_files_below(tmp_path) == []
