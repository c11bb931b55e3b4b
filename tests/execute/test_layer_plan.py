"""The layers of an input root: not too many, and mostly the same after a small change."""

from __future__ import annotations

import pytest

from contexts import context
from execute.trees import MIB, Directory, Entry, File, blobs_of, project, put
from reapi_local.execute.local.inputs.input_tree import InputTreeReader
from reapi_local.execute.local.inputs.layer_plan import MAX_LAYERS, LayerPlan, plan_layers
from reapi_local.proto import remote_execution_pb2 as re_pb2
from reapi_local.protocol.digest import Digest, digest_of
from reapi_local.store.memory import MemoryStore


async def planned(store: MemoryStore, root: Digest) -> list[LayerPlan]:
    return plan_layers(await InputTreeReader(store).fetch(context(), root))


async def layers_of(tree: Directory) -> list[LayerPlan]:
    store = MemoryStore()
    return await planned(store, put(store, tree))


def flat(count: int) -> dict[str, Entry]:
    return {f"file_{number}": File(b"%d" % number) for number in range(count)}


def chain(depth: int) -> Directory:
    tree: Directory = {}
    for _ in range(depth):
        tree = {**flat(3), "deeper": tree}
    return tree


SHAPES: dict[str, Directory] = {
    "one file": flat(1),
    "one directory": flat(20_000),
    "tiny directories": {f"{number}": flat(1) for number in range(5_000)},
    "empty directories": {f"{number}": dict[str, Entry]() for number in range(5_000)},
    "usual": project(3_000, 60),
    "deep": chain(200),
    "lopsided": {**flat(10_000), "a": {"b": {"c": flat(5)}}, "z": project(2_000, 1)},
}


@pytest.mark.parametrize("shape", SHAPES)
async def test_no_root_has_too_many_layers(shape: str) -> None:
    layers = await layers_of(SHAPES[shape])
    assert 1 <= len(layers) <= MAX_LAYERS
    assert len({layer.key for layer in layers}) == len(layers)


@pytest.mark.parametrize("size", [64 * 1024, MIB - 1, MIB + 1, 900 * MIB])
async def test_no_number_of_large_files_makes_too_many_layers(size: int) -> None:
    store, message = MemoryStore(), re_pb2.Directory()
    for number in range(2_000):
        node = message.files.add(name=f"{number}")
        node.digest.hash, node.digest.size_bytes = digest_of(b"%d" % number).hash_hex, size
    data = message.SerializeToString()
    store.blobs[digest_of(data)] = data
    layers = await planned(store, digest_of(data))
    assert len(layers) <= MAX_LAYERS
    assert sum(len(list(layer.files())) for layer in layers) == 2_000


@pytest.mark.parametrize("shape", ["usual", "tiny directories", "one directory", "lopsided"])
async def test_one_more_file_leaves_most_layers_unchanged(shape: str) -> None:
    tree = SHAPES[shape]
    before = {layer.key for layer in await layers_of(tree)}
    after = {layer.key for layer in await layers_of({**tree, "new_file": File(b"new")})}
    assert len(before & after) >= len(before) - 4


async def test_a_large_file_is_a_layer_of_its_own() -> None:
    heavy = File(bytes(2 * MIB))
    layers = await layers_of({"bin": {"tool": heavy, **flat(3)}, "lib": flat(5)})
    files = [[file.name for _, file in layer.files()] for layer in layers]
    assert files.count([b"tool"]) == 1


async def test_the_same_directory_at_two_paths_is_in_different_layers() -> None:
    inner = flat(40)
    layers = await layers_of({"here": inner, "there": inner})
    paths = [path for layer in layers for path, _ in layer.files()]
    assert (paths.count(b"here"), paths.count(b"there")) == (40, 40)
    assert len({layer.key for layer in layers}) == len(layers)


async def test_different_layers_have_different_keys() -> None:
    trees: list[Directory] = [
        {"a": File(b"1")},
        {"b": File(b"1")},
        {"a": File(b"2")},
        {"a": File(b"1", executable=True)},
        {"a": File(b"1", mode=0o600)},
        {"a": File(b"1", mtime_ns=5)},
        {"a": {}},
        {"d": {"a": File(b"1")}},
    ]
    keys = {tuple(layer.key for layer in await layers_of(tree)) for tree in trees}
    assert len(keys) == len(trees)
    assert len({blobs_of(tree)[0] for tree in trees}) == len(trees)
