"""Concurrent holds: one writes for all, and the failure of one doesn't affect the others."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from contexts import context
from execute.trees import (
    Directory,
    File,
    described,
    file_blobs,
    files_on_disk,
    input_roots,
    layers_on_disk,
    project,
    put,
    union,
)
from reapi_local.context import Context
from reapi_local.errors import MissingInputs
from reapi_local.execute.local.inputs.input_roots import InputRoots
from reapi_local.protocol.digest import Digest, digest_of
from reapi_local.store.memory import MemoryStore


class GatedStore(MemoryStore):
    """A store that returns certain blobs only once its gate is open."""

    def __init__(self) -> None:
        super().__init__()
        self.behind_gate: set[Digest] = set()
        self.gate, self.reached = asyncio.Event(), asyncio.Event()
        self.handed_out = Counter[Digest]()

    async def read_many(
        self, context: Context, digests: Sequence[Digest]
    ) -> Mapping[Digest, bytes]:
        if self.behind_gate.intersection(digests):
            self.reached.set()
            await self.gate.wait()
        found = await super().read_many(context, digests)
        self.handed_out.update(found.keys())
        return found


async def held(roots: InputRoots, root: Digest) -> dict[str, object]:
    async with roots.hold(context(), root) as layers:
        return dict(union(layers))


@pytest.fixture
async def store() -> GatedStore:
    return GatedStore()


async def gated(store: GatedStore, tree: Directory) -> Digest:
    """Store a tree whose files are behind the gate."""
    store.behind_gate |= file_blobs(tree)
    return put(store, tree)


async def test_a_root_held_by_many_is_written_once(store: GatedStore, tmp_path: Path) -> None:
    tree = project(300, 10)
    root = await gated(store, tree)
    async with input_roots(store, tmp_path) as roots:
        holds = [asyncio.create_task(held(roots, root)) for _ in range(5)]
        await store.reached.wait()
        store.gate.set()
        for hold in holds:
            assert await hold == described(tree)
        assert {store.handed_out[digest] for digest in file_blobs(tree)} == {1}
        assert files_on_disk(tmp_path) == 300


async def test_if_a_hold_is_cancelled_the_others_finish_its_work(
    store: GatedStore, tmp_path: Path
) -> None:
    tree = project(600, 10)
    root = await gated(store, tree)
    async with input_roots(store, tmp_path) as roots:
        first, *others = (asyncio.create_task(held(roots, root)) for _ in range(3))
        await store.reached.wait()
        first.cancel()
        with pytest.raises(asyncio.CancelledError):
            await first
        store.gate.set()
        for hold in others:
            assert await hold == described(tree)
        await roots.layers.settle()
        assert files_on_disk(tmp_path) == 600


async def test_if_all_holds_are_cancelled_nothing_is_left(
    store: GatedStore, tmp_path: Path
) -> None:
    tree = project(600, 10)
    root = put(store, tree)
    seen = described(tree)
    last = seen[max(seen)][3]
    assert isinstance(last, bytes)
    store.behind_gate = {digest_of(last)}
    async with input_roots(store, tmp_path) as roots:
        holds = [asyncio.create_task(held(roots, root)) for _ in range(3)]
        await store.reached.wait()
        assert files_on_disk(tmp_path) > 0
        for hold in holds:
            hold.cancel()
        await asyncio.wait(holds)
        await roots.layers.settle()
        assert layers_on_disk(tmp_path) == set()
        assert roots.layers.used_bytes == 0


async def test_missing_blobs_of_another_root_do_no_harm(store: GatedStore, tmp_path: Path) -> None:
    shared = project(300, 10)
    theirs = {**shared, "theirs.py": File(b"theirs")}
    root, their_root = await gated(store, shared), await gated(store, theirs)
    async with input_roots(store, tmp_path) as roots:
        they = asyncio.create_task(held(roots, their_root))
        await store.reached.wait()
        we = asyncio.create_task(held(roots, root))
        del store.blobs[digest_of(b"theirs")]
        store.gate.set()
        with pytest.raises(MissingInputs) as caught:
            await they
        assert caught.value.digests == (digest_of(b"theirs"),)
        assert await we == described(shared)


async def test_roots_that_share_directories_share_layers(store: GatedStore, tmp_path: Path) -> None:
    first, second = project(400, 10), {**project(400, 10), "more": {"x": File(b"x")}}
    async with (
        input_roots(store, tmp_path) as roots,
        roots.hold(context(), put(store, first)) as one,
        roots.hold(context(), put(store, second)) as other,
    ):
        assert len(set(one) & set(other)) >= len(one) - 2
        assert union(other) == described(second)
