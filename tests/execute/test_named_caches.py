"""Named caches stay within their limit, and never vanish while an action runs with them."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from reapi_contract.disk_usage import disk_bytes
from reapi_local.clock import ManualClock
from reapi_local.execute.local.named_caches import NamedCaches

KIB = 1024
LIMIT = 500 * KIB
USES = {"b": 2, "a": 1, "c": 3}


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def caches(tmp_path: Path, clock: ManualClock) -> NamedCaches:
    return NamedCaches(str(tmp_path), LIMIT, None, clock)


def used(caches: NamedCaches, instance: str, kib: int = 200, *, at: int = 0) -> Path:
    """An action of an instance has written this much, so many seconds after the epoch."""
    with caches.use(instance) as path:
        directory = Path(path)
        (directory / "pex_root").mkdir(exist_ok=True)
        (directory / "pex_root" / "wheel").write_bytes(os.urandom(kib * KIB))
    os.utime(directory, (at, at))
    return directory


async def kept(caches: NamedCaches) -> None:
    """Wait until the limit is kept."""
    await caches.settle()
    caches.begin_to_keep_limit()
    await caches.settle()


async def test_the_caches_that_were_used_longest_ago_are_deleted(
    caches: NamedCaches, tmp_path: Path
) -> None:
    middle, oldest, newest = (used(caches, name, at=at) for name, at in USES.items())
    await kept(caches)

    assert not oldest.exists()
    assert (middle / "pex_root" / "wheel").exists()
    assert (newest / "pex_root" / "wheel").exists()
    assert set(os.listdir(tmp_path)) == {middle.name, newest.name}
    assert disk_bytes(tmp_path) <= LIMIT


async def test_a_use_makes_them_the_newest(caches: NamedCaches) -> None:
    first, second, third = (used(caches, name, at=at) for at, name in enumerate("abc"))
    with caches.use("a"):
        pass
    await kept(caches)

    assert [path.exists() for path in (first, second, third)] == [True, False, True]


async def test_caches_of_a_running_action_stay_and_go_when_it_has_ended(
    caches: NamedCaches, clock: ManualClock
) -> None:
    running = used(caches, "running", 600)
    with caches.use("running"), caches.use("running"):
        await kept(caches)
        assert (running / "pex_root" / "wheel").exists()
        with caches.use("running"):
            pass
        await kept(caches)
        assert (running / "pex_root" / "wheel").exists(), "two actions still run with them"
    clock.advance(0)
    await caches.settle()

    assert not running.exists()


async def test_caches_that_are_used_while_sizes_are_measured_stay(
    caches: NamedCaches, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = used(caches, "first", 600)

    def measured(path: str) -> int:
        with caches.use("first"):  # an action begins and ends meanwhile
            return disk_bytes(path)

    monkeypatch.setattr("reapi_local.execute.local.named_caches.disk_bytes", measured)
    await kept(caches)
    assert first.exists()
    monkeypatch.undo()
    await kept(caches)
    assert not first.exists()


async def test_an_action_after_the_deletion_finds_them_empty(caches: NamedCaches) -> None:
    before = used(caches, "a", 600)
    await kept(caches)
    assert not before.exists()

    with caches.use("a") as path:
        assert Path(path) == before
        assert os.listdir(path) == []
    await caches.close()


async def test_what_a_killed_server_did_not_finish_to_delete_is_deleted(
    caches: NamedCaches, tmp_path: Path
) -> None:
    left = tmp_path / ".removed-4711-1"
    (left / "pex_root").mkdir(parents=True)
    (left / "pex_root").chmod(0o500)
    await kept(caches)

    assert not left.exists()


async def test_measuring_them_takes_a_small_share_of_the_time(
    caches: NamedCaches, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks = 0

    def measured(path: str) -> int:
        nonlocal looks
        looks += 1
        clock.advance(1.0)
        return 0

    monkeypatch.setattr("reapi_local.execute.local.named_caches.disk_bytes", measured)
    for _ in range(5):
        used(caches, "a")
        clock.advance(0)
        await caches.settle()
    assert looks == 1
    clock.advance(101)  # without another use: the last ones may have written a lot
    await caches.settle()
    assert looks == 2
    clock.advance(1000)
    assert looks == 2, "nothing was used since"
