"""Output directories as Trees and as Directories."""

from __future__ import annotations

import random
import tempfile
from pathlib import Path
from typing import cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from execute.collected import FUNCTIONS, File, Link, Tree, collect, fill, open_files, refused
from reapi_local.proto import remote_execution_pb2 as re_pb2
from reapi_local.protocol.digest import DigestFunction, digest_of, parse_digest

FORMATS = re_pb2.Command

names = st.text(st.characters(exclude_characters="/\0", codec="utf-8"), min_size=1, max_size=8)
names = names.filter(lambda name: name not in (".", ".."))
targets = st.text(st.characters(exclude_characters="\0", codec="utf-8"), min_size=1, max_size=20)
leaves = st.builds(File, st.binary(max_size=20), st.booleans()) | st.builds(Link, targets)
trees = st.dictionaries(
    names,
    st.recursive(leaves, lambda nodes: st.dictionaries(names, nodes, max_size=4), max_leaves=15),
    max_size=5,
)


@given(trees, st.sampled_from(FUNCTIONS))
def test_a_directory_is_collected_exactly_as_it_is(tree: Tree, function: DigestFunction) -> None:
    with tempfile.TemporaryDirectory() as root:
        fill(Path(root), {"out": tree})
        collected = collect(Path(root), "out", function=function)
    assert collected.directories() == {"out": tree}
    assert not collected.result.output_files
    assert not collected.result.output_symlinks


@given(trees, st.randoms(use_true_random=False))
def test_the_digest_doesnt_depend_on_the_order_of_writing(tree: Tree, order: random.Random) -> None:
    def shuffled(tree: Tree) -> Tree:
        items = order.sample(list(tree.items()), len(tree))
        return {name: shuffled(node) if isinstance(node, dict) else node for name, node in items}

    with tempfile.TemporaryDirectory() as root:
        fill(Path(root), {"out": tree, "other": shuffled(tree)})
        first, second = collect(Path(root), "out", "other").result.output_directories
    assert first.tree_digest == second.tree_digest


@given(trees, st.sampled_from([FORMATS.DIRECTORY_ONLY, FORMATS.TREE_AND_DIRECTORY]))
def test_each_directory_is_a_blob_if_the_command_requests_that(tree: Tree, wanted: int) -> None:
    with tempfile.TemporaryDirectory() as root:
        fill(Path(root), {"out": tree})
        collected = collect(Path(root), "out", directory_format=wanted)
    (entry,) = collected.result.output_directories
    assert collected.hierarchy(entry) == tree
    assert entry.HasField("tree_digest") == (wanted == FORMATS.TREE_AND_DIRECTORY)
    if entry.HasField("tree_digest"):
        assert collected.tree(entry) == tree
        message = re_pb2.Tree.FromString(collected.blob(entry.tree_digest))
        root_digest = digest_of(message.root.SerializeToString())
        assert root_digest == parse_digest(entry.root_directory_digest)


@pytest.mark.parametrize("wanted", [FORMATS.TREE_ONLY, 77])
def test_other_formats_give_a_tree(tmp_path: Path, wanted: int) -> None:
    fill(tmp_path, {"out": {"a": {}}})
    collected = collect(tmp_path, "out", directory_format=wanted)
    (entry,) = collected.result.output_directories
    assert collected.tree(entry) == {"a": {}}
    assert not entry.HasField("root_directory_digest")
    assert list(collected.blobs) == [parse_digest(entry.tree_digest)]


def test_equal_directories_are_one_child(tmp_path: Path) -> None:
    twig: Tree = {"x": File(b"x"), "deeper": {}}
    tree: Tree = {"a": twig, "b": {"c": twig, "d": twig}, "z": {"deeper": {}}}
    fill(tmp_path, {"out": tree})
    collected = collect(tmp_path, "out")
    (entry,) = collected.result.output_directories
    assert collected.tree(entry) == tree
    message = re_pb2.Tree.FromString(collected.blob(entry.tree_digest))
    assert len(message.children) == len(["twig", "deeper", "b", "z"])


def test_an_output_directory_that_is_too_deep_is_refused(tmp_path: Path) -> None:
    (tmp_path / "/".join(["d"] * 201)).mkdir(parents=True)
    before = open_files()
    collected = collect(tmp_path, "d")
    deepest = collected.directories()["d"]
    for _ in range(200):
        deepest = cast("Tree", deepest["d"])
    assert deepest == {}
    refused(tmp_path, "", match="over 200 levels deep")
    (tmp_path / "/".join(["d"] * 250)).mkdir(parents=True)
    refused(tmp_path, "d", match="over 200 levels deep")
    assert open_files() == before
