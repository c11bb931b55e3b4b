"""The process is killed while it writes: what it acknowledged is there, and nothing is torn."""

from __future__ import annotations

import os
import random
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from contexts import context
from reapi_local.events import EventStream
from reapi_local.protocol.digest import Digest
from reapi_local.protocol.lookup import Hit
from reapi_local.store.local.generation_results import GenerationActionCache
from reapi_local.store.local.generation_store import GenerationStore
from reapi_local.store.local.index import Table
from store import killed_writer
from store.helpers import KIB, MIB, blob, bytes_on_disk, generation_store

ROUNDS = 6
WHOLE = 1024 * MIB


@dataclass(frozen=True)
class Told:
    """One acknowledgement."""

    kind: str
    seed: int
    size: int


def killed_after(told: int, root: Path, *arguments: object) -> list[Told]:
    """Start a writer, kill it at some acknowledgement, return all that came."""
    command = [sys.executable, killed_writer.__file__, str(root), *map(str, arguments)]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as writer:
        assert writer.stdout
        lines = [writer.stdout.readline() for _ in range(told)]
        writer.kill()
        lines += writer.stdout.readlines()
    words = [line.split() for line in lines if line.endswith("\n")]
    assert len(words) >= told
    return [Told(kind, int(seed), int(size)) for kind, seed, size in words]


async def assert_nothing_is_torn(store: GenerationStore, root: Path) -> None:
    assert os.listdir(store.generations.incoming) == []
    assert [name for name in os.listdir(root) if name.endswith(".dead")] == []
    visible = {Digest(k) for g in store.generations.newest_first for k in g.index.keys(Table.BLOBS)}
    for digest in sorted(visible):
        assert digest in await store.read_many(context(), [digest])
    assert os.listdir(store.generations.quarantine) == []


async def assert_all_there(store: GenerationStore, told: list[Told]) -> None:
    results = GenerationActionCache(store, EventStream())
    for entry in told:
        digest, data = blob(entry.seed, entry.size)
        if entry.kind == "blob":
            assert await store.read_many(context(), [digest]) == {digest: data}
        else:
            found = await results.get(context(), digest)
            assert isinstance(found, Hit)
            assert found.stored.result == b"%d" % entry.seed


@pytest.mark.slow
@pytest.mark.parametrize("how", ["grow", "rotate"])
async def test_nothing_acknowledged_and_leased_is_lost(tmp_path: Path, how: str) -> None:
    moments, everything = random.Random(how), []
    for number in range(ROUNDS):
        seed = number * 1_000_000
        told = killed_after(moments.randrange(1, 250), tmp_path, WHOLE, 3600, seed, how)
        async with generation_store(tmp_path, max_bytes=WHOLE, durable=True) as store:
            await assert_all_there(store, told)
            everything += told
            if how == "grow":  # else those of earlier lives may have gone: their leases ended
                await assert_all_there(store, everything)
            await assert_nothing_is_torn(store, tmp_path)


@pytest.mark.slow
async def test_a_small_store_that_rotates_all_the_time_stays_whole(tmp_path: Path) -> None:
    moments, max_bytes = random.Random(3), 3 * MIB
    for number in range(ROUNDS):
        seed = number * 1_000_000
        killed_after(moments.randrange(20, 150), tmp_path, max_bytes, 0.01, seed, "grow")
        async with generation_store(tmp_path, max_bytes=max_bytes, durable=True) as store:
            await assert_nothing_is_torn(store, tmp_path)
            await store.write_many(context(), [blob(seed + 999_999, 700)])
            await store.capacity.settle()
            assert bytes_on_disk(tmp_path) <= max_bytes + 512 * KIB
