"""Layers on disk: the size limit, restarts and reboots, and full disks."""

from __future__ import annotations

import logging
import os
import shutil
import tempfile
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
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
    as_message,
    described,
    disk_bytes,
    file_blobs,
    files_on_disk,
    input_roots,
    layers_on_disk,
    put,
    put_directory,
    union,
)
from file_systems import small_file_system
from reapi_local.context import Context
from reapi_local.errors import MissingInputs, StorageFull
from reapi_local.execute.local.inputs import layers as layers_module
from reapi_local.execute.local.inputs.input_roots import InputRoots
from reapi_local.proto import remote_execution_pb2 as re_pb2
from reapi_local.protocol.digest import Digest, digest_of
from reapi_local.store.blob_store import BlobReader
from reapi_local.store.memory import MemoryStore

WARNINGS = "reapi_local.execute.local.inputs.layers"


@pytest.fixture
def store() -> MemoryStore:
    return MemoryStore()


def tree(number: int, size: int = 100 * KIB) -> Directory:
    return {f"dir_{number}": {"file": File(bytes([number]) * size)}}


async def is_cached(roots: InputRoots, store: MemoryStore, wanted: Directory) -> bool:
    """Whether the root can be held although the store lacks its files."""
    root = put(store, wanted)
    for digest in file_blobs(wanted):
        del store.blobs[digest]
    try:
        async with roots.hold(context(), root) as layers:
            assert union(layers) == described(wanted)
        return True
    except MissingInputs:
        return False


async def make(roots: InputRoots, store: MemoryStore, *numbers: int) -> None:
    for number in numbers:
        async with roots.hold(context(), put(store, tree(number))):
            pass


@pytest.mark.parametrize("restarts", [False, True])
async def test_the_least_recently_used_layer_is_evicted_first(
    store: MemoryStore, tmp_path: Path, restarts: bool
) -> None:
    async with AsyncExitStack() as stack:
        roots = await stack.enter_async_context(input_roots(store, tmp_path, max_bytes=400 * KIB))
        await make(roots, store, 1, 2, 3)
        if restarts:
            await stack.aclose()
            roots = await stack.enter_async_context(
                input_roots(store, tmp_path, max_bytes=400 * KIB)
            )
        await make(roots, store, 1, 4)
        cached = [n for n in (1, 2, 3, 4) if await is_cached(roots, store, tree(n))]
        assert cached == [1, 3, 4]
        await roots.layers.settle()
        assert disk_bytes(tmp_path) <= roots.layers.used_bytes <= 400 * KIB


async def test_held_layers_are_never_evicted_and_a_warning_is_logged(
    store: MemoryStore, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING, WARNINGS)
    async with input_roots(store, tmp_path, max_bytes=300 * KIB) as roots:
        async with AsyncExitStack() as held:
            for number in range(6):
                layers = await held.enter_async_context(
                    roots.hold(context(), put(store, tree(number)))
                )
                assert union(layers) == described(tree(number))
            assert files_on_disk(tmp_path) == 6
            assert roots.layers.used_bytes > 300 * KIB
            assert len(caplog.records) == 1
            assert "more than the limit of 307200" in caplog.text
        assert roots.layers.used_bytes <= 300 * KIB
        await roots.layers.settle()
        assert disk_bytes(tmp_path) <= 300 * KIB


async def test_a_very_deep_root_is_evicted_like_any_other(
    store: MemoryStore, tmp_path: Path
) -> None:
    root = put(store, {"file": File(b"content")})
    for _ in range(1500):
        above = re_pb2.Directory(directories=[{"name": "d", "digest": as_message(root)}])
        root = put_directory(store, above)
    async with input_roots(store, tmp_path, max_bytes=1) as roots:
        async with roots.hold(context(), root):
            assert layers_on_disk(tmp_path)
        await roots.layers.settle()
        assert not layers_on_disk(tmp_path)


async def test_a_smaller_limit_takes_effect_at_the_next_start(
    store: MemoryStore, tmp_path: Path
) -> None:
    async with input_roots(store, tmp_path) as roots:
        await make(roots, store, 0, 1, 2, 3, 4)
    async with input_roots(store, tmp_path, max_bytes=300 * KIB) as roots:
        await roots.layers.settle()
        assert disk_bytes(tmp_path) <= roots.layers.used_bytes <= 300 * KIB
        assert await is_cached(roots, store, tree(4))


async def make_one(store: MemoryStore, directory: Path) -> None:
    async with input_roots(store, directory) as roots:
        await make(roots, store, 1)


async def cached_after_restart(
    store: MemoryStore, directory: Path, owner: int | None = None
) -> bool:
    async with input_roots(store, directory, owner=owner) as roots:
        await roots.layers.settle()
        return await is_cached(roots, store, tree(1))


async def test_layers_survive_a_restart_of_the_server(store: MemoryStore, tmp_path: Path) -> None:
    await make_one(store, tmp_path)
    assert await cached_after_restart(store, tmp_path)


async def test_a_reboot_of_the_machine_drops_all_layers(
    store: MemoryStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    boot = tmp_path / "boot_id"
    monkeypatch.setattr(layers_module, "BOOT_ID_FILE", str(boot))
    boot.write_text("one\n")
    await make_one(store, tmp_path / "roots")
    assert await cached_after_restart(store, tmp_path / "roots")
    boot.write_text("another\n")
    assert not await cached_after_restart(store, tmp_path / "roots")
    assert layers_on_disk(tmp_path / "roots") == set()


async def test_without_a_boot_id_no_layer_survives_a_restart(
    store: MemoryStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(layers_module, "BOOT_ID_FILE", str(tmp_path / "none"))
    await make_one(store, tmp_path / "roots")
    assert not await cached_after_restart(store, tmp_path / "roots")


async def test_a_deleted_layer_is_written_again(store: MemoryStore, tmp_path: Path) -> None:
    await make_one(store, tmp_path)
    for layer in layers_on_disk(tmp_path):
        shutil.rmtree(layer)
    async with input_roots(store, tmp_path) as roots:
        assert roots.layers.used_bytes == 0
        async with roots.hold(context(), put(store, tree(1))) as layers:
            assert union(layers) == described(tree(1))


async def test_layers_of_another_owner_are_dropped(store: MemoryStore, tmp_path: Path) -> None:
    await make_one(store, tmp_path)
    assert not await cached_after_restart(store, tmp_path, owner=os.geteuid())


@pytest.fixture
def ordinary_user() -> Iterator[Path]:
    """A directory of the user that this process acts as within the test, who isn't root."""
    with tempfile.TemporaryDirectory() as directory:
        if os.geteuid() != 0:
            yield Path(directory)
            return
        os.chown(directory, 65534, 65534)
        os.seteuid(65534)
        try:
            yield Path(directory)
        finally:
            os.seteuid(0)


async def test_an_ordinary_user_can_delete_read_only_directories(
    store: MemoryStore, ordinary_user: Path
) -> None:
    closed = {
        "closed": DirectoryWithMode(
            {"file": File(b"1"), "to": Link("/tmp"), "in": DirectoryWithMode({"x": File()}, 0o500)},
            0o555,
        ),
        "secret": DirectoryWithMode({"deep": {"file": File(b"2")}}, 0o000),
    }
    async with input_roots(store, ordinary_user, max_bytes=1) as roots:
        async with roots.hold(context(), put(store, closed)) as layers:
            assert layers
        await roots.layers.settle()
        assert layers_on_disk(ordinary_user) == set()


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 8 MiB."""
    with small_file_system(tmp_path / "disk", "size=8m,nr_inodes=2000") as path:
        yield path


async def assert_refused_and_nothing_left(
    store: MemoryStore, disk: Path, wanted: Directory
) -> None:
    async with input_roots(store, disk / "roots") as roots:
        await make(roots, store, 1)
        used, on_disk = roots.layers.used_bytes, disk_bytes(disk / "roots")
        with pytest.raises(StorageFull):
            async with roots.hold(context(), put(store, wanted)):
                pass
        await roots.layers.settle()
        assert (roots.layers.used_bytes, disk_bytes(disk / "roots")) == (used, on_disk)
        async with roots.hold(context(), put(store, tree(2))) as layers:
            assert union(layers) == described(tree(2))
    async with input_roots(store, disk / "roots") as roots:
        assert await is_cached(roots, store, tree(1))


async def test_a_root_larger_than_the_disk_is_refused(store: MemoryStore, disk: Path) -> None:
    await assert_refused_and_nothing_left(store, disk, tree(3, 9 * MIB))


async def test_too_many_files_for_the_disk_are_refused(store: MemoryStore, disk: Path) -> None:
    many = {f"{number}": File(b"") for number in range(3000)}
    await assert_refused_and_nothing_left(store, disk, many)


class DiskFillingStore(MemoryStore):
    """When a certain blob is requested, it fills the disk."""

    def __init__(self, disk: Path, trigger: Digest) -> None:
        super().__init__()
        self._disk, self._trigger, self.fills_disk = disk, trigger, True

    async def read_many(
        self, context: Context, digests: Sequence[Digest]
    ) -> Mapping[Digest, bytes]:
        if self.fills_disk and self._trigger in digests:
            fill(self._disk)
        return await super().read_many(context, digests)

    @asynccontextmanager
    async def open_read(
        self, context: Context, digest: Digest, offset: int = 0, limit: int = 0
    ) -> AsyncIterator[BlobReader]:
        if self.fills_disk and digest == self._trigger:
            fill(self._disk)
        async with super().open_read(context, digest, offset, limit) as reader:
            yield reader


def fill(disk: Path) -> None:
    status = os.statvfs(disk)
    (disk / "others").write_bytes(bytes(status.f_bavail * status.f_frsize))


@pytest.mark.parametrize("size", [3 * KIB, 200 * KIB, 3 * MIB])
async def test_a_disk_that_fills_up_leaves_no_incomplete_layer(disk: Path, size: int) -> None:
    contents = [b"%d " % number * (size // 2) for number in range(300 if size < MIB // 8 else 2)]
    wanted = {f"{number}": File(content[:size]) for number, content in enumerate(contents)}
    store = DiskFillingStore(disk, digest_of(contents[-1][:size]))
    root = put(store, wanted)
    async with input_roots(store, disk / "roots") as roots:
        with pytest.raises(StorageFull):
            async with roots.hold(context(), root):
                pass
        await roots.layers.settle()
        assert layers_on_disk(disk / "roots") == set()
        assert roots.layers.used_bytes == 0
        store.fills_disk = False
        (disk / "others").unlink()
        async with roots.hold(context(), root) as layers:
            assert union(layers) == described(wanted)
