"""The mode without syncs: what may be torn is dropped, and nothing else."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from contexts import context
from reapi_local.clock import SystemClock
from reapi_local.events import EventStream
from reapi_local.protocol.digest import Digest
from reapi_local.store.local.generation_store import GenerationStore
from reapi_local.store.local.rotation import StoreLimits
from store.helpers import LARGE, blob, generation_store, write

SMALL, BIG = blob(1, 500), blob(2, LARGE)


async def left_open(source: Path, crashed: Path, *, durable: bool) -> None:
    """Write to the store and copy it as a crash would leave it."""
    async with generation_store(source, durable=durable) as store:
        assert await store.write_many(context(), [SMALL, BIG]) == {}
        shutil.copytree(source, crashed)


async def found(root: Path, *, durable: bool) -> dict[Digest, bytes]:
    async with generation_store(root, durable=durable) as store:
        return dict(await store.read_many(context(), [SMALL[0], BIG[0]]))


@pytest.mark.parametrize("then", [True, False])
async def test_a_relaxed_store_that_was_closed_is_kept(tmp_path: Path, then: bool) -> None:
    async with generation_store(tmp_path, durable=False) as store:
        assert await store.write_many(context(), [SMALL, BIG]) == {}
    for _ in range(2):
        assert await found(tmp_path, durable=then) == dict([SMALL, BIG])


@pytest.mark.parametrize("then", [True, False])
async def test_a_relaxed_generation_left_open_is_dropped(tmp_path: Path, then: bool) -> None:
    await left_open(tmp_path / "a", tmp_path / "b", durable=False)
    assert await found(tmp_path / "b", durable=then) == {}
    assert [name for name in os.listdir(tmp_path / "b") if "dead" in name] == []


@pytest.mark.parametrize("then", [True, False])
async def test_a_durable_store_left_open_is_kept(tmp_path: Path, then: bool) -> None:
    await left_open(tmp_path / "a", tmp_path / "b", durable=True)
    assert await found(tmp_path / "b", durable=then) == dict([SMALL, BIG])


async def test_a_relaxed_run_that_crashed_costs_only_what_it_wrote_to(tmp_path: Path) -> None:
    async with generation_store(tmp_path / "a", durable=True) as store:
        await write(store, SMALL)
        await store.capacity.start_generation()
    await left_open_after(tmp_path / "a", tmp_path / "b")
    assert await found(tmp_path / "b", durable=False) == dict([SMALL])


async def left_open_after(source: Path, crashed: Path) -> None:
    async with generation_store(source, durable=False) as store:
        await write(store, BIG)
        shutil.copytree(source, crashed)


def test_opening_cleans_what_a_crash_left(tmp_path: Path) -> None:
    for name in ("incoming", "gen-00000007.dead/large/ab"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "incoming" / "torn").write_bytes(b"half a blo")
    (tmp_path / "gen-00000007.dead" / "large" / "ab" / "x").write_bytes(b"x")
    (tmp_path / "gen-00000003").mkdir()  # made, and the process ended
    store = GenerationStore(
        str(tmp_path), StoreLimits(1 << 30), SystemClock(), EventStream(), durable=True
    )
    assert sorted(os.listdir(tmp_path)) == ["gen-00000003", "incoming", "quarantine"]
    assert os.listdir(tmp_path / "incoming") == []
    store.generations.close()
