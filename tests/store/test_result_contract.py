"""Every action cache keeps the same contract; the complete ones keep one more."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from contexts import context
from reapi_local.events import EventStream
from reapi_local.proto import remote_execution_pb2 as re_pb2
from reapi_local.protocol.digest import Digest, DigestFunction, digest_of, make_digest
from reapi_local.protocol.lookup import Hit, Miss, MissReason, StoredResult
from reapi_local.store.action_cache import ActionCache
from reapi_local.store.blob_store import BlobStore
from reapi_local.store.completeness import CompleteActionCache
from reapi_local.store.local.generation_results import GenerationActionCache
from reapi_local.store.local.generation_store import GenerationStore
from reapi_local.store.memory import MemoryActionCache
from store.helpers import LARGE, STORES, blob, store_of_kind, write

ACTION = blob(0, 10)[0]
ABSENT = Miss(MissReason.ABSENT)


@dataclass
class Caches:
    blobs: BlobStore
    plain: ActionCache

    @property
    def complete(self) -> CompleteActionCache:
        return CompleteActionCache(self.plain, self.blobs, EventStream())


@pytest.fixture(params=STORES)
async def caches(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Caches]:
    async with store_of_kind(request.param, tmp_path / "store") as blobs:
        if isinstance(blobs, GenerationStore):
            yield Caches(blobs, GenerationActionCache(blobs, EventStream()))
        else:
            yield Caches(blobs, MemoryActionCache())


@pytest.fixture(params=["plain", "complete"])
def cache(request: pytest.FixtureRequest, caches: Caches) -> ActionCache:
    return caches.plain if request.param == "plain" else caches.complete


def stored(result: re_pb2.ActionResult, run: str = "") -> StoredResult:
    return StoredResult(result.SerializeToString(), 1_700_000_000.5, "owner ü", run)


def exit_code(code: int) -> StoredResult:
    return stored(re_pb2.ActionResult(exit_code=code))


def message(digest: Digest) -> re_pb2.Digest:
    return re_pb2.Digest(hash=digest.hash_hex, size_bytes=digest.size_bytes)


async def test_a_result_comes_back_with_its_origin(cache: ActionCache) -> None:
    assert await cache.get(context("run"), ACTION) == ABSENT
    result = stored(re_pb2.ActionResult(exit_code=3, stdout_raw=b"\0\xff" * 500), "run 1")
    await cache.put(context(), ACTION, result)
    assert await cache.get(context("another run"), ACTION) == Hit(result)


async def test_instances_and_functions_have_results_of_their_own(cache: ActionCache) -> None:
    keys = [
        (context(instance=instance), blob(0, 10, function)[0])
        for instance in ("", "a", "a/b", "ä" * 127)
        for function in DigestFunction
    ]
    for number, key in enumerate(keys):
        await cache.put(*key, exit_code(number))
    for number, key in enumerate(keys):
        assert await cache.get(*key) == Hit(exit_code(number))


async def test_the_latest_result_wins(cache: ActionCache) -> None:
    for number in range(3):
        await cache.put(context(), ACTION, exit_code(number))
        assert await cache.get(context(), ACTION) == Hit(exit_code(number))


async def test_a_removed_result_is_a_miss(cache: ActionCache) -> None:
    assert not await cache.remove(context(), ACTION, exit_code(1))
    await cache.put(context(), ACTION, exit_code(1))
    assert await cache.remove(context(), ACTION, exit_code(1))
    assert await cache.get(context(), ACTION) == ABSENT
    assert not await cache.remove(context(), ACTION, exit_code(1))


@pytest.mark.parametrize(
    "other",
    [exit_code(2), replace(exit_code(1), written_at=0.5), replace(exit_code(1), invocation="r")],
)
async def test_a_result_is_removed_only_if_it_still_is_the_one_that_was_seen(
    cache: ActionCache, other: StoredResult
) -> None:
    await cache.put(context(), ACTION, exit_code(1))
    assert not await cache.remove(context(), ACTION, other)
    assert not await cache.remove(context(instance="other"), ACTION, exit_code(1))
    assert await cache.get(context(), ACTION) == Hit(exit_code(1))


async def test_many_results_are_put_at_the_same_time(cache: ActionCache) -> None:
    actions = [blob(n, 10)[0] for n in range(200)]
    await asyncio.gather(
        *(cache.put(context(), action, exit_code(n)) for n, action in enumerate(actions))
    )
    found = await asyncio.gather(*(cache.get(context(), action) for action in actions))
    assert found == [Hit(exit_code(n)) for n in range(200)]


def reaching(function: DigestFunction) -> tuple[re_pb2.ActionResult, dict[Digest, bytes]]:
    """A result that names blobs in every way there is, and those blobs."""
    named = {name: blob(n, 40, function) for n, name in enumerate(("out", "err", "file", "in"))}
    named["nested"] = blob(10, LARGE, function)
    named["deep"] = blob(11, 30, function)
    leaf = re_pb2.Directory(
        files=[re_pb2.FileNode(name="nested", digest=message(named["nested"][0]))]
    )
    leaf_data = leaf.SerializeToString()
    leaf_digest = digest_of(leaf_data, function)
    node = re_pb2.DirectoryNode(name="leaf", digest=message(leaf_digest))
    root = re_pb2.Directory(
        files=[re_pb2.FileNode(name="deep", digest=message(named["deep"][0]))], directories=[node]
    )
    root_data = root.SerializeToString()
    tree = re_pb2.Tree(
        root=re_pb2.Directory(
            files=[re_pb2.FileNode(name="in", digest=message(named["in"][0]))], directories=[node]
        ),
        children=[leaf],
    ).SerializeToString()
    blobs = dict(named.values())
    for data in (leaf_data, root_data, tree):
        blobs[digest_of(data, function)] = data
    result = re_pb2.ActionResult(
        output_files=[
            re_pb2.OutputFile(path="file", digest=message(named["file"][0])),
            re_pb2.OutputFile(path="empty", digest=message(digest_of(b"", function))),
        ],
        stdout_digest=message(named["out"][0]),
        stderr_digest=message(named["err"][0]),
        output_directories=[
            re_pb2.OutputDirectory(path="tree", tree_digest=message(digest_of(tree, function))),
            re_pb2.OutputDirectory(
                path="root", root_directory_digest=message(digest_of(root_data, function))
            ),
        ],
    )
    return result, blobs


@pytest.mark.parametrize("function", DigestFunction)
async def test_a_result_is_a_hit_when_all_it_reaches_is_there(
    caches: Caches, function: DigestFunction
) -> None:
    result, blobs = reaching(function)
    action = blob(0, 10, function)[0]
    for item in blobs.items():
        await write(caches.blobs, item)
    await caches.complete.put(context(), action, stored(result))
    assert await caches.complete.get(context(), action) == Hit(stored(result))


@pytest.mark.parametrize("gap", range(9))
async def test_each_gap_alone_is_a_miss(caches: Caches, gap: int) -> None:
    result, blobs = reaching(DigestFunction.SHA256)
    absent = sorted(blobs)[gap]
    for item in blobs.items():
        if item[0] != absent:
            await write(caches.blobs, item)
    await caches.complete.put(context(), ACTION, stored(result))
    assert await caches.complete.get(context(), ACTION) == Miss(MissReason.INCOMPLETE, (absent,))
    assert await caches.plain.get(context(), ACTION) == ABSENT, "an entry with a gap is removed"


@pytest.mark.parametrize("place", ["file", "stdout", "stderr"])
async def test_what_is_inline_is_needed_as_a_blob_too(caches: Caches, place: str) -> None:
    """Clients may read the digest and not the content within the result."""
    digest, data = blob(1, 3)
    result = {
        "file": re_pb2.ActionResult(
            output_files=[re_pb2.OutputFile(path="f", digest=message(digest), contents=data)]
        ),
        "stdout": re_pb2.ActionResult(stdout_raw=data, stdout_digest=message(digest)),
        "stderr": re_pb2.ActionResult(stderr_raw=data, stderr_digest=message(digest)),
    }[place]
    await caches.complete.put(context(), ACTION, stored(result))
    assert await caches.complete.get(context(), ACTION) == Miss(MissReason.INCOMPLETE, (digest,))
    await write(caches.blobs, (digest, data))
    await caches.complete.put(context(), ACTION, stored(result))
    assert await caches.complete.get(context(), ACTION) == Hit(stored(result))


async def test_a_tree_that_is_no_tree_is_a_miss(caches: Caches) -> None:
    no_tree = blob(5, 100)
    await write(caches.blobs, no_tree)
    directory = re_pb2.OutputDirectory(path="d", tree_digest=message(no_tree[0]))
    await caches.complete.put(
        context(), ACTION, stored(re_pb2.ActionResult(output_directories=[directory]))
    )
    assert await caches.complete.get(context(), ACTION) == Miss(MissReason.CORRUPT)
    assert await caches.plain.get(context(), ACTION) == ABSENT


async def test_the_size_of_an_action_has_no_effect(caches: Caches) -> None:
    other = make_digest(ACTION.function, bytes.fromhex(ACTION.hash_hex), 0)
    assert other != ACTION
    for put, get in ((ACTION, other), (other, ACTION)):
        kept = stored(re_pb2.ActionResult(exit_code=put.size_bytes))
        await caches.plain.put(context(), put, kept)
        assert await caches.plain.get(context(), get) == Hit(kept)
    assert await caches.plain.remove(context(), ACTION, kept)
    assert await caches.plain.get(context(), other) == ABSENT
