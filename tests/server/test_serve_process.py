"""`python -m reapi_local serve`, from its start to its end."""

from __future__ import annotations

import signal
import stat
from pathlib import Path
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from patience import PATIENCE_S
from server.process import Process, admin, listener, quiet_port, state_of, stop


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return tmp_path / "deep" / "data"


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def is_serving(data_dir: Path) -> bool:
    state = state_of(data_dir)
    port, headers = state["grpc_port"], [("authorization", f"Bearer {state['token']}")]
    options = [("grpc.enable_http_proxy", 0)]
    with grpc.insecure_channel(f"127.0.0.1:{port}", options=options) as channel:
        answer = health_pb2_grpc.HealthStub(channel).Check(
            health_pb2.HealthCheckRequest(), metadata=headers, timeout=PATIENCE_S
        )
        return bool(answer.status == health_pb2.HealthCheckResponse.SERVING)


@pytest.mark.parametrize("transport", ["grpcio", "native"])
def test_a_server_says_when_it_serves_and_stops_when_asked(data: Path, transport: str) -> None:
    arguments = ("--data-dir", str(data), "--transport", transport, "--version-label", "9.9+x")
    with Process(*arguments, "--max-size", "50MB") as process:
        ready = process.serving()
        assert ready == {
            "ready": True,
            "pid": process.popen.pid,
            "grpc_port": ready["grpc_port"],
            "admin_port": ready["admin_port"],
        }
        assert is_serving(data)
        state = state_of(data)
        assert state == {
            "format": 1,
            "pid": process.popen.pid,
            "boot_id": state["boot_id"],
            "started_at": state["started_at"],
            "version": "9.9+x",
            "host": "127.0.0.1",
            "grpc_port": ready["grpc_port"],
            "admin_port": ready["admin_port"],
            "token": state["token"],
            "data_dir": str(data),
            "max_size_bytes": 50_000_000,
            "named_caches_bytes": 10 * 1024**3,
            "idle_exit_s": 0.0,
            "instances": [],
            "ca_certs_path": "",
            "needs_client_certificate": False,
        }
        assert len(state["token"]) == 43
        assert admin(data, "GET", "/v1/health")[1]["boot_id"] == state["boot_id"]
        status, errors = process.end(signal.SIGTERM)
        assert status == 0, errors
        assert "Traceback" not in errors
        assert state_of(data) == state | {"pid": None}


def test_files_are_for_their_owner_alone(data: Path) -> None:
    with Process("--data-dir", str(data)) as process:
        process.serving()
        assert mode(data) == 0o700
        assert mode(data / "server.json") == 0o600
        assert mode(data / "store" / "incoming") == 0o700
        stop(process)
        assert mode(data / "server.json") == 0o600


@pytest.mark.parametrize("how", ["SIGINT", "POST /v1/stop"])
def test_other_ways_to_stop(data: Path, how: str) -> None:
    with Process("--data-dir", str(data)) as process:
        process.serving()
        if how == "SIGINT":
            status, errors = process.end(signal.SIGINT)
        else:
            assert admin(data, "POST", "/v1/stop") == (202, {"status": "stopping"})
            status, errors = process.end()
        assert status == 0, errors
        assert "Traceback" not in errors
        assert state_of(data)["pid"] is None


@pytest.mark.parametrize("transport", ["grpcio", "native"])
def test_a_restart_keeps_port_and_token_and_a_crash_the_port_alone(
    data: Path, transport: str
) -> None:
    arguments = ("--data-dir", str(data), "--transport", transport)
    lives: list[dict[str, Any]] = []
    for end in (signal.SIGTERM, signal.SIGKILL, signal.SIGTERM):
        first = () if lives else ("--port", str(quiet_port()))
        with Process(*arguments, *first) as process:
            process.serving()
            assert is_serving(data)
            lives.append(state_of(data))
            process.end(end)
    assert len({life["grpc_port"] for life in lives}) == 1
    first, second, after_crash = (life["token"] for life in lives)
    assert first == second != after_crash
    assert len({life["boot_id"] for life in lives}) == 3


def test_a_second_server_on_the_same_data_is_refused(data: Path) -> None:
    with Process("--data-dir", str(data)) as first:
        first.serving()
        before = state_of(data)
        with Process("--data-dir", str(data)) as second:
            ready = second.ready()
            assert (ready["ready"], ready["error"]) == (False, "data-dir-in-use")
            assert str(data) in ready["message"]
            assert "--data-dir" in ready["remedy"]
            status, errors = second.end()
            assert status == 3
            assert ready["message"] in errors
        assert state_of(data) == before
        assert is_serving(data)


def test_a_port_that_is_asked_for_and_taken_is_an_error(data: Path) -> None:
    with listener() as other:
        port = str(other.getsockname()[1])
        with Process("--data-dir", str(data), "--port", port) as process:
            ready = process.ready()
            assert (ready["ready"], ready["error"]) == (False, "port-in-use")
            assert port in ready["message"]
            assert "--port" in ready["remedy"]
            status, errors = process.end()
            assert status == 3
            assert "Traceback" not in errors


def test_a_port_that_is_asked_for_and_free_is_used(data: Path) -> None:
    with listener() as other:
        port = other.getsockname()[1]
    with Process("--data-dir", str(data), "--port", str(port)) as process:
        assert process.serving()["grpc_port"] == port


def test_ports_that_were_taken_meanwhile_are_replaced(data: Path) -> None:
    with Process("--data-dir", str(data), "--port", str(quiet_port())) as process:
        first = process.serving()
        stop(process)
    with (
        listener(first["grpc_port"]),
        listener(first["admin_port"]),
        Process("--data-dir", str(data)) as process,
    ):
        second = process.serving()
        assert is_serving(data)
        assert admin(data, "GET", "/v1/health")[0] == 200
    ports = ("grpc_port", "admin_port")
    assert not {first[name] for name in ports} & {second[name] for name in ports}


def test_an_idle_server_ends_by_itself(data: Path) -> None:
    with Process("--data-dir", str(data), "--idle-exit", "0.01") as process:
        process.serving()
        status, errors = process.end()
        assert status == 0
        assert "no call for 0.01 seconds" in errors
        assert state_of(data)["pid"] is None


def test_data_that_can_not_be_used_is_told_with_a_way_out(data: Path) -> None:
    data.parent.mkdir(parents=True)
    data.write_text("a file in the way")
    with Process("--data-dir", str(data)) as process:
        ready = process.ready()
        assert (ready["ready"], ready["error"]) == (False, "data-dir-unusable")
        assert str(data) in ready["message"]
        assert "--data-dir" in ready["remedy"]
        status, errors = process.end()
        assert status == 3
        assert "Traceback" not in errors


def test_an_address_of_another_machine_is_told(data: Path) -> None:
    with Process("--data-dir", str(data), "--host", "192.0.2.1") as process:
        ready = process.ready()
        assert (ready["ready"], ready["error"]) == (False, "failed")
        assert "192.0.2.1" in ready["message"]
        assert "--host" in ready["remedy"]
        status, errors = process.end()
        assert status == 3
        assert "Traceback" not in errors


def test_a_server_whose_launcher_is_gone_serves(data: Path) -> None:
    with Process("--data-dir", str(data)) as process:
        process.go_away()
        process.logged("serving grpc://")
        assert is_serving(data)
        stop(process)


def test_a_relative_data_dir_is_kept_as_an_absolute_one(tmp_path: Path) -> None:
    with Process("--data-dir", "here/data", cwd=tmp_path) as process:
        process.serving()
        assert state_of(tmp_path / "here" / "data")["data_dir"] == str(tmp_path / "here/data")


def test_without_a_ready_pipe_the_log_tells(data: Path) -> None:
    with Process("--data-dir", str(data), "--idle-exit", "0.01", ready_fd=False) as process:
        status, errors = process.end()
        assert status == 0
        assert f"serving grpc://127.0.0.1:{state_of(data)['grpc_port']} from {data}" in errors


def test_a_server_that_cannot_start_tells_cause_and_remedy_on_lines_of_their_own(
    tmp_path: Path,
) -> None:
    data = str(tmp_path / "data")
    with Process("--data-dir", data) as first:
        first.serving()
        with Process("--data-dir", data) as second:
            assert second.popen.wait(PATIENCE_S) == 3
            assert second.popen.stderr is not None
            cause, remedy = second.popen.stderr.read().splitlines()
    assert cause == f"error: another server runs on {data}"
    assert remedy.startswith("remedy: ")
