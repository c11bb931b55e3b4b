"""Input roots are exactly what the client describes, and each file is written once."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from contexts import context
from execute.trees import (
    KIB,
    MIB,
    Directory,
    DirectoryWithMode,
    File,
    Link,
    blobs_of,
    contents,
    described,
    disk_bytes,
    file_blobs,
    files_on_disk,
    input_roots,
    layers_on_disk,
    project,
    put,
    union,
)
from reapi_local.errors import MissingInputs
from reapi_local.execute.local.inputs.parsed_directory import LARGE_FILE_BYTES
from reapi_local.protocol.digest import digest_of
from reapi_local.store.memory import MemoryStore
from store.helpers import generation_store

EVERY_KIND: Directory = {
    "run.sh": File(b"#!/bin/sh\n", executable=True),
    "empty": File(),
    "leer": File("Grüße".encode()),
    "ünicode name": File(b"x"),
    "to-anywhere": Link("/etc/passwd"),
    "to-nowhere": Link("../../no/such/thing"),
    "empty-dir": {},
    "deep": {"er": {"and": {"deeper": {"file": File(b"deep"), "nothing": {}}}}},
    "same": {"a": File(b"twin"), "b": File(b"twin"), "c": File(b"twin", executable=True)},
    "again": {"same": {"a": File(b"twin"), "b": File(b"twin"), "c": File(b"twin")}},
}


@pytest.fixture
def store() -> MemoryStore:
    return MemoryStore()


@pytest.fixture(params=[0o022, 0o077, 0o000])
def umask(request: pytest.FixtureRequest) -> Iterator[None]:
    before = os.umask(request.param)
    yield
    os.umask(before)


async def test_every_type_of_entry_is_present(
    store: MemoryStore, tmp_path: Path, umask: None
) -> None:
    root = put(store, EVERY_KIND)
    async with input_roots(store, tmp_path) as roots, roots.hold(context(), root) as layers:
        assert union(layers) == described(EVERY_KIND)
        for layer in layers:
            assert os.stat(layer).st_mode & 0o777 == 0o755
        assert os.stat(tmp_path).st_mode & 0o777 == 0o755


async def test_node_properties_are_applied(store: MemoryStore, tmp_path: Path) -> None:
    tree: Directory = {
        "file": File(b"1", mode=0o600, mtime_ns=1_234_567_890_987_654_321),
        "executable": File(b"2", executable=True, mode=0o444),
        "before 1970": File(b"3", mtime_ns=-1_500_000_000),
        "closed": DirectoryWithMode(
            {"file": File(b"4"), "below": {"file": File(b"5")}}, mode=0o555
        ),
        "private": DirectoryWithMode(mode=0o700),
    }
    root = put(store, tree)
    async with input_roots(store, tmp_path) as roots, roots.hold(context(), root) as layers:
        assert union(layers) == described(tree)


async def test_setuid_setgid_and_sticky_bits_are_dropped(
    store: MemoryStore, tmp_path: Path
) -> None:
    root = put(store, {"su": File(b"#!", mode=0o6755), "tmp": DirectoryWithMode(mode=0o1777)})
    async with input_roots(store, tmp_path) as roots, roots.hold(context(), root) as layers:
        seen = union(layers)
    assert (seen["su"][1], seen["tmp"][1]) == (0o755, 0o777)


async def test_directories_that_differ_only_in_mode_are_different_layers(
    store: MemoryStore, tmp_path: Path
) -> None:
    open_tree, closed_tree = (
        {"d": DirectoryWithMode({"f": File(b"1")}, mode=mode)} for mode in (0o755, 0o550)
    )
    async with input_roots(store, tmp_path) as roots:
        for tree in (open_tree, closed_tree, open_tree):
            async with roots.hold(context(), put(store, tree)) as layers:
                assert union(layers) == described(tree)


async def test_an_empty_root_has_no_layers(store: MemoryStore, tmp_path: Path) -> None:
    async with (
        input_roots(store, tmp_path) as roots,
        roots.hold(context(), put(store, {})) as layers,
    ):
        assert layers == ()


async def test_files_belong_to_the_user_of_actions(store: MemoryStore, tmp_path: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root can give files away")
    root = put(store, {**EVERY_KIND, "closed": DirectoryWithMode({"x": File(b"1")}, mode=0o500)})
    async with (
        input_roots(store, tmp_path, owner=64321) as roots,
        roots.hold(context(), root) as layers,
    ):
        for layer in layers:
            for path in (".", *contents(layer)):
                status = os.lstat(os.path.join(layer, path))
                assert (status.st_uid, status.st_gid) == (64321, 64321)


async def test_large_files_of_a_real_store_are_complete(tmp_path: Path) -> None:
    sizes = (0, 1, 64 * KIB, 64 * KIB + 1, LARGE_FILE_BYTES, LARGE_FILE_BYTES + 1, 3 * MIB + 17)
    tree = {f"{size}": File(os.urandom(size), executable=True) for size in sizes}
    root, blobs = blobs_of(tree)
    async with generation_store(tmp_path / "store") as store:
        assert await store.write_many(context(), list(blobs.items())) == {}
        async with (
            input_roots(store, tmp_path / "roots") as roots,
            roots.hold(context(), root) as layers,
        ):
            assert union(layers) == described(tree)


async def test_a_remembered_root_needs_nothing_from_the_store(
    store: MemoryStore, tmp_path: Path
) -> None:
    root = put(store, EVERY_KIND)
    async with input_roots(store, tmp_path) as roots:
        async with roots.hold(context(), root) as first:
            pass
        store.blobs.clear()
        async with roots.hold(context(), root) as again:
            assert again == first
            assert union(again) == described(EVERY_KIND)


async def test_after_a_restart_only_directories_are_read(
    store: MemoryStore, tmp_path: Path
) -> None:
    tree = project(300, 10)
    root = put(store, tree)
    async with input_roots(store, tmp_path) as roots, roots.hold(context(), root) as first:
        used = roots.layers.used_bytes
    for digest in file_blobs(tree):
        del store.blobs[digest]
    async with input_roots(store, tmp_path) as roots:
        assert roots.layers.used_bytes == used
        async with roots.hold(context(), root) as again:
            assert set(again) == set(first)
            assert union(again) == described(tree)


async def test_one_new_file_among_a_thousand_writes_few_files_again(
    store: MemoryStore, tmp_path: Path
) -> None:
    tree = project(1000, 20)
    async with input_roots(store, tmp_path) as roots:
        async with roots.hold(context(), put(store, tree)) as layers:
            assert union(layers) == described(tree)
        for number in range(20):
            changed = project(1000, 20, also=f"pkg_{number:03}/module_new.py")
            async with roots.hold(context(), put(store, changed)) as layers:
                assert union(layers) == described(changed)
        assert files_on_disk(tmp_path) - 1000 <= 20 * 50


async def test_a_large_file_is_stored_once(store: MemoryStore, tmp_path: Path) -> None:
    heavy = File(os.urandom(5 * MIB))
    async with input_roots(store, tmp_path) as roots:
        for number in range(10):
            tree = {"bin": {"tool": heavy}, "src": {"a.py": File(b"%d" % number)}}
            async with roots.hold(context(), put(store, tree)) as layers:
                assert union(layers) == described(tree)
        assert 5 * MIB <= disk_bytes(tmp_path) <= roots.layers.used_bytes <= 6 * MIB


async def test_the_counted_size_is_at_least_the_disk_usage(
    store: MemoryStore, tmp_path: Path
) -> None:
    root = put(store, project(500, 100, size=9 * KIB))
    async with input_roots(store, tmp_path) as roots, roots.hold(context(), root):
        assert disk_bytes(tmp_path) <= roots.layers.used_bytes <= 500 * 16 * KIB


async def test_a_file_is_read_by_its_path(store: MemoryStore, tmp_path: Path) -> None:
    root = put(store, {**EVERY_KIND, "huge": File(bytes(MIB + 1))})
    async with input_roots(store, tmp_path) as roots:
        assert await roots.read_file(context(), root, "run.sh") == b"#!/bin/sh\n"
        assert await roots.read_file(context(), root, "./deep/er//and/deeper/file") == b"deep"
        assert await roots.read_file(context(), root, "empty") == b""
        for path in ("", ".", "no", "no/such", "deep", "deep/er", "to-anywhere", "../x", "huge"):
            assert await roots.read_file(context(), root, path) is None
        assert layers_on_disk(tmp_path) == set()


async def test_reading_a_missing_file_is_an_error(store: MemoryStore, tmp_path: Path) -> None:
    tree = {"bin": {"run": File(b"#!")}}
    root = put(store, tree)
    async with input_roots(store, tmp_path) as roots:
        for digest in file_blobs(tree):
            del store.blobs[digest]
        with pytest.raises(MissingInputs):
            await roots.read_file(context(), root, "bin/run")
        with pytest.raises(MissingInputs):
            await roots.read_file(context(), digest_of(b"never uploaded"), "bin/run")
