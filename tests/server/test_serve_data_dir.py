"""What a server makes of the data directory it finds."""

from __future__ import annotations

import json
import os
import signal
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from reapi_local.compose.cannot_start import CannotStart
from reapi_local.execute.sandbox.host.other_servers import data_directories_of_servers
from rpc.helpers import serving
from server.process import Process


@pytest.mark.parametrize(
    "content",
    [
        "",
        "{",
        "[]",
        "null",
        "\x00\xff",
        '{"token": "short", "grpc_port": 1, "admin_port": 2}',
        '{"token": 7, "grpc_port": 1, "admin_port": 2}',
        json.dumps({"token": "x" * 43, "grpc_port": "y", "admin_port": 2}),
        json.dumps({"token": "x" * 43, "grpc_port": 99999, "admin_port": -5}),
        json.dumps({"token": "x" * 43}),
    ],
)
async def test_a_state_file_that_makes_no_sense_is_replaced(tmp_path: Path, content: str) -> None:
    file = tmp_path / "server.json"
    file.write_text(content, encoding="latin-1")
    file.chmod(0o644)
    async with serving(tmp_path, "grpcio") as server:
        state = json.loads(file.read_text())
        assert state["pid"] == os.getpid()
        assert len(state["token"]) == 43
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
        assert await server.client.missing() == []


async def test_a_short_token_is_not_taken_over(tmp_path: Path) -> None:
    state = {"token": "guess", "grpc_port": 0, "admin_port": 0}
    (tmp_path / "server.json").write_text(json.dumps(state))
    async with serving(tmp_path, "grpcio") as server:
        assert server.token != "guess"


def lock_in_the_way(data: Path) -> None:
    (data / "server.lock").mkdir(parents=True)


def store_in_the_way(data: Path) -> None:
    data.mkdir(parents=True)
    (data / "store").write_text("a file")


def store_is_garbage(data: Path) -> None:
    generation = data / "store" / "gen-00000001"
    generation.mkdir(parents=True)
    (generation / "data.mdb").write_bytes(b"\xff" * 100_000)


@pytest.mark.parametrize("spoil", [lock_in_the_way, store_in_the_way, store_is_garbage])
async def test_data_that_can_not_be_used_is_told_with_a_way_out(
    tmp_path: Path, spoil: Callable[[Path], None]
) -> None:
    data = tmp_path / "data"
    spoil(data)
    with pytest.raises(CannotStart) as caught:
        async with serving(data, "grpcio", sync="full"):
            pass
    assert caught.value.code == "data-dir-unusable"
    assert "--data-dir" in caught.value.remedy
    assert str(data) in str(caught.value)


@pytest.mark.skipif(not os.path.isdir("/proc/self"), reason="needs a place nobody can write to")
async def test_a_place_that_can_not_be_written_is_told() -> None:
    with pytest.raises(CannotStart, match="/proc/reapi-local") as caught:
        async with serving(Path("/proc/reapi-local"), "grpcio"):
            pass
    assert caught.value.code == "data-dir-unusable"


async def test_one_server_at_a_time(tmp_path: Path) -> None:
    async with serving(tmp_path, "grpcio") as first:
        with pytest.raises(CannotStart) as caught:
            async with serving(tmp_path, "grpcio"):
                pass
        assert caught.value.code == "data-dir-in-use"
        assert await first.client.missing() == []
    async with serving(tmp_path, "grpcio"):
        pass


def test_the_data_directories_of_running_servers_are_known_to_others(tmp_path: Path) -> None:
    data = tmp_path / "data"
    with Process("--data-dir", str(data)) as process:
        process.serving()
        assert str(data) in data_directories_of_servers()
        process.end(signal.SIGTERM)
    assert str(data) not in data_directories_of_servers()
