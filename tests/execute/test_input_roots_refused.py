"""Input roots that can't be made: missing blobs are named, invalid messages are refused."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from contexts import context
from execute.trees import (
    MIB,
    Directory,
    File,
    Link,
    as_message,
    blobs_of,
    described,
    file_blobs,
    input_roots,
    layers_on_disk,
    project,
    put,
    put_directory,
    union,
)
from reapi_local.context import Context
from reapi_local.errors import Code, InvalidRequest, MissingInputs, StorageFull
from reapi_local.proto import remote_execution_pb2 as re_pb2
from reapi_local.protocol.digest import Digest, digest_of
from reapi_local.store.memory import MemoryStore


class CountingStore(MemoryStore):
    """Counts the blobs that are requested from it."""

    asked = 0

    async def read_many(
        self, context: Context, digests: Sequence[Digest]
    ) -> Mapping[Digest, bytes]:
        self.asked += len(digests)
        return await super().read_many(context, digests)


@pytest.fixture
def store() -> CountingStore:
    return CountingStore()


async def refused(store: MemoryStore, root: Digest, directory: Path) -> InvalidRequest:
    async with input_roots(store, directory) as roots:
        with pytest.raises(InvalidRequest) as caught:
            async with roots.hold(context(), root):
                pass
    assert layers_on_disk(directory) == set()
    return caught.value


async def test_the_error_names_all_missing_blobs(store: CountingStore, tmp_path: Path) -> None:
    tree = project(700, 30)
    root, blobs = blobs_of(tree)
    files = file_blobs(tree)
    gone = set(sorted(files)[::3])
    store.blobs |= {digest: data for digest, data in blobs.items() if digest not in gone}
    async with input_roots(store, tmp_path) as roots:
        with pytest.raises(MissingInputs) as caught:
            async with roots.hold(context(), root):
                pass
        assert set(caught.value.digests) == gone
        assert len(caught.value.digests) == len(gone)
        assert caught.value.code is Code.FAILED_PRECONDITION
        assert f"and {len(gone) - 3} more" in str(caught.value)
        assert str(caught.value.digests[0]) in str(caught.value)
        store.blobs |= blobs
        async with roots.hold(context(), root) as layers:
            assert union(layers) == described(tree)


async def test_the_error_names_missing_directories_and_known_missing_files(
    store: CountingStore, tmp_path: Path
) -> None:
    one: Directory = {"a": {"b": File(b"nobody knows of it")}}
    other: Directory = {"c": File(b"nor of it")}
    tree: Directory = {
        "lost": one,
        "also": {"lost": other, "d": File(b"there")},
        "e": File(b"gone"),
    }
    root, blobs = blobs_of(tree)
    lost = {blobs_of(one)[0], blobs_of(other)[0], digest_of(b"gone")}
    store.blobs |= {digest: data for digest, data in blobs.items() if digest not in lost}
    async with input_roots(store, tmp_path) as roots:
        with pytest.raises(MissingInputs) as caught:
            async with roots.hold(context(), root):
                pass
        assert set(caught.value.digests) == lost
        with pytest.raises(MissingInputs) as caught:
            async with roots.hold(context(), digest_of(b"no root")):
                pass
        assert caught.value.digests == (digest_of(b"no root"),)


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "/etc", "x" * 256, "ü" * 128])
@pytest.mark.parametrize("kind", ["files", "directories", "symlinks"])
async def test_invalid_names_are_refused(
    store: CountingStore, tmp_path: Path, kind: str, name: str
) -> None:
    message = re_pb2.Directory()
    if kind == "symlinks":
        message.symlinks.add(name=name, target="x")
    else:
        getattr(message, kind).add(name=name, digest=as_message(put(store, {})))
    await refused(store, put_directory(store, message), tmp_path)


async def test_duplicate_names_are_refused(store: CountingStore, tmp_path: Path) -> None:
    empty = as_message(put(store, {}))
    pairs = [("files", "files"), ("files", "directories"), ("directories", "symlinks")]
    for kinds in pairs:
        message = re_pb2.Directory()
        for kind in kinds:
            entry = getattr(message, kind).add(name="twice")
            if kind == "symlinks":
                entry.target = "x"
            else:
                entry.digest.CopyFrom(empty)
        error = await refused(store, put_directory(store, message), tmp_path)
        assert "twice" in str(error)


async def test_entries_in_any_order_are_accepted(store: CountingStore, tmp_path: Path) -> None:
    tree = {name: File(name.encode()) for name in ("c", "a", "b")}
    root = put(store, tree)
    async with input_roots(store, tmp_path) as roots, roots.hold(context(), root) as layers:
        assert union(layers) == described(tree)


@pytest.mark.parametrize("target", ["", "a\0b", "x" * 4096])
async def test_invalid_symlink_targets_are_refused(
    store: CountingStore, tmp_path: Path, target: str
) -> None:
    await refused(store, put(store, {"link": Link(target)}), tmp_path)


async def test_invalid_times_are_refused(store: CountingStore, tmp_path: Path) -> None:
    message = re_pb2.Directory()
    node = message.files.add(name="file", digest=as_message(put(store, {})))
    node.node_properties.mtime.seconds = 1 << 60
    assert "mtime" in str(await refused(store, put_directory(store, message), tmp_path))


async def test_a_blob_that_isn_t_a_directory_is_refused(
    store: CountingStore, tmp_path: Path
) -> None:
    child = digest_of(b"\xff\xfe not a message")
    store.blobs[child] = b"\xff\xfe not a message"
    message = re_pb2.Directory()
    message.directories.add(name="sub", digest=as_message(child))
    error = await refused(store, put_directory(store, message), tmp_path)
    assert str(child) in str(error)


async def test_an_invalid_digest_is_refused(store: CountingStore, tmp_path: Path) -> None:
    message = re_pb2.Directory()
    message.files.add(name="file", digest=re_pb2.Digest(hash="zz", size_bytes=1))
    await refused(store, put_directory(store, message), tmp_path)


async def test_few_directories_that_describe_too_many_entries_are_refused(
    store: CountingStore, tmp_path: Path
) -> None:
    root = put(store, {"file": File(b"x")})
    for _ in range(10):
        message = re_pb2.Directory()
        for number in range(100):
            message.directories.add(name=f"{number}", digest=as_message(root))
        root = put_directory(store, message)
    error = await refused(store, root, tmp_path)
    assert "more than 1000000" in str(error)
    assert store.asked == 11


async def test_directories_deeper_than_the_longest_path_are_refused(
    store: CountingStore, tmp_path: Path
) -> None:
    root = put(store, {"file": File(b"x")})
    for _ in range(5000):
        message = re_pb2.Directory()
        message.directories.add(name="d", digest=as_message(root))
        root = put_directory(store, message)
    assert "paths" in str(await refused(store, root, tmp_path))


async def test_paths_of_the_maximum_length_are_accepted(
    store: CountingStore, tmp_path: Path
) -> None:
    root = put(store, {"f" * 255: File(b"x")})
    for _ in range(14):
        message = re_pb2.Directory()
        message.directories.add(name="d" * 255, digest=as_message(root))
        root = put_directory(store, message)
    path = "/".join([*["d" * 255] * 14, "f" * 255])
    async with input_roots(store, tmp_path) as roots, roots.hold(context(), root) as (layer,):
        layer_fd = os.open(layer, os.O_RDONLY)
        os.close(os.open(path, os.O_RDONLY, dir_fd=layer_fd))
        os.close(layer_fd)


async def test_a_file_at_more_paths_than_fit_on_the_disk_is_refused(
    store: CountingStore, tmp_path: Path
) -> None:
    huge = File(bytes(64 * MIB))
    root = put(store, dict.fromkeys(map(str, range(100)), huge))
    for _ in range(2):
        message = re_pb2.Directory()
        for number in range(40):
            message.directories.add(name=f"{number}", digest=as_message(root))
        root = put_directory(store, message)
    async with input_roots(store, tmp_path) as roots:
        with pytest.raises(StorageFull, match="are free"):
            async with roots.hold(context(), root):
                pass
        assert layers_on_disk(tmp_path) == set()
        assert roots.layers.used_bytes == 0
