"""Little space on the disk: what status and proofs say. Needs root, to mount a small one."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from file_systems import small_file_system
from reapi_contract import admin_api
from reapi_contract.proof import Proof, proofs_from
from reapi_contract.state import read_state
from reapi_local_launcher.server.admin_client import call
from server.process import Process, admin


@pytest.fixture
def disk(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Path]:
    with small_file_system(tmp_path / "disk", f"size={request.param}") as path:
        yield path


def proofs(data: Path) -> dict[str, Proof]:
    state = read_state(data)
    assert state is not None
    body = admin_api.check_request("main")
    answer = call(state, "POST", admin_api.CHECK, body, 60.0)
    return {one.name: one for one in proofs_from(answer)}


@pytest.mark.parametrize("disk", ["100m"], indirect=True)
def test_a_full_disk_fails_one_proof_with_the_right_remedy(disk: Path) -> None:
    with Process("--data-dir", str(disk / "data")) as process:
        process.serving()
        status = admin(disk / "data", "GET", "/v1/status")[1]
        tried = proofs(disk / "data")
    failed = {name: one for name, one in tried.items() if not one.ok}
    assert set(failed) == {"blob"}
    assert f"The disk of {disk / 'data'} has only " in failed["blob"].remedy
    assert "max-size" not in failed["blob"].remedy + failed["blob"].detail
    assert "free some space" in failed["blob"].detail
    assert "it can store next to nothing" in failed["blob"].remedy
    assert "it can store next to nothing" in " ".join(status["notes"])
    assert "action-result" not in tried
    assert tried["instance"].ok


@pytest.mark.parametrize("disk", ["400m"], indirect=True)
def test_a_disk_with_little_space_is_named_while_all_proofs_hold(disk: Path) -> None:
    with Process("--data-dir", str(disk / "data")) as process:
        process.serving()
        status = admin(disk / "data", "GET", "/v1/status")[1]
        tried = proofs(disk / "data")
    assert all(one.ok for one in tried.values())
    assert "it can store only a little more" in tried["disk-space"].detail
    assert "it can store only a little more" in " ".join(status["notes"])


@pytest.mark.parametrize("disk", ["2g"], indirect=True)
def test_a_disk_with_space_is_not_spoken_of(disk: Path) -> None:
    with Process("--data-dir", str(disk / "data")) as process:
        process.serving()
        assert "disk-space" not in proofs(disk / "data")


@pytest.mark.parametrize("disk", ["8m"], indirect=True)
def test_a_disk_without_space_for_a_store_is_the_reason_that_is_given(disk: Path) -> None:
    stat = os.statvfs(disk)
    with open(disk / "others", "wb", buffering=0) as file:
        file.write(bytes(stat.f_bavail * stat.f_frsize - 16384))
    with Process("--data-dir", str(disk / "data")) as process:
        ready = process.ready()
    assert (ready["ready"], ready["error"]) == (False, "disk-full")
    assert f"the disk of {disk / 'data'}" in ready["remedy"]
