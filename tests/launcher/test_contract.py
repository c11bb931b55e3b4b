"""The contract of launcher and server, on the stand-in of these tests and on the real server."""

from __future__ import annotations

import json
import socket
import time
from contextlib import closing
from dataclasses import fields, replace
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import grpc
import pytest

from launcher.server_process import Server, Servers
from patience import PATIENCE_S
from reapi_contract import admin_api, proof, ready_line, setting_names
from reapi_contract.data_dir import STATE_FILE
from reapi_contract.ready_line import NotStarted, Ready
from reapi_contract.sandbox_levels import PROCESS_GROUP
from reapi_contract.setting_names import flag
from reapi_contract.state import FORMAT, MIN_TOKEN_CHARACTERS, State, state_text
from reapi_local.proto import remote_execution_pb2 as re_pb2
from reapi_local_launcher.server import admin_client as admin

INSTANCE = "main"
FIELDS = tuple(field.name for field in fields(State))
_METADATA = "build.bazel.remote.execution.v2.requestmetadata-bin"
_LOOK_UP = "/build.bazel.remote.execution.v2.ActionCache/GetActionResult"
_DIGEST = {"hash": "0" * 64, "size_bytes": 1}


@pytest.fixture(scope="module")
def server(servers: Servers) -> Server:
    """A server that runs actions without a sandbox, so that this works on every machine."""
    return servers.start("--slots=1", f"--sandbox={PROCESS_GROUP}")


def holds(kind: type, record: object) -> None:
    """Each field of a dataclass of the contract is in the JSON object, with a value of its type."""
    assert isinstance(record, dict)
    for field in fields(kind):
        value = record[field.name]
        if isinstance(field.default, tuple):
            assert isinstance(value, list), field.name
            assert all(isinstance(part, str) for part in value), field.name
        elif isinstance(field.default, float):
            assert isinstance(value, (int, float)), field.name
            assert not isinstance(value, bool), field.name
        else:
            assert type(value) is type(field.default), field.name


def look_up(server: Server) -> None:
    """Look up an action as a client does in one of its runs, so that the server counts it."""
    metadata = re_pb2.RequestMetadata(
        tool_details={"tool_name": "pants", "tool_version": "2"}, tool_invocation_id="a-run"
    )
    request = re_pb2.GetActionResultRequest(instance_name=INSTANCE, action_digest=_DIGEST)
    headers = (
        ("authorization", f"Bearer {server.state.token}"),
        (_METADATA, metadata.SerializeToString()),
    )
    with grpc.insecure_channel(f"127.0.0.1:{server.state.grpc_port}") as channel:
        call = channel.unary_unary(_LOOK_UP, lambda message: message.SerializeToString(), bytes)
        with pytest.raises(grpc.RpcError, match="NOT_FOUND"):
            call(request, metadata=headers, timeout=PATIENCE_S)


@pytest.fixture(scope="module")
def used(server: Server, servers: Servers) -> Server:
    """A server that has counted something; the counts of the stand-in are constants."""
    if (servers.site.package / "rpc").exists():
        look_up(server)
    return server


def test_the_ready_line_names_process_and_ports(server: Server) -> None:
    state = server.state
    assert server.line == Ready(server.process.pid, state.grpc_port, state.admin_port)


def test_the_state_file_has_every_field_and_is_its_owners_alone(server: Server) -> None:
    file = server.data_dir / STATE_FILE
    raw, state = json.loads(file.read_text()), server.state
    assert set(FIELDS) <= set(raw)
    assert file.stat().st_mode & 0o777 == 0o600
    assert raw == json.loads(state_text(state))
    assert (state.pid, state.version, state.format) == (server.process.pid, "9.9", FORMAT)
    assert len(state.token) >= MIN_TOKEN_CHARACTERS
    assert state.data_dir == str(server.data_dir)
    assert state.max_size_bytes == 20 * 1024**3


def test_health_is_that_of_the_state_file(server: Server) -> None:
    health, state = server.call("GET", admin_api.HEALTH), server.state
    holds(admin_api.Health, health)
    assert health["api"] == admin_api.API
    assert health["status"] == admin_api.SERVING
    assert health["grpc_address"] == f"grpc://127.0.0.1:{state.grpc_port}"
    same = ["pid", "boot_id", "version", "data_dir"]
    assert [health[name] for name in same] == [getattr(state, name) for name in same]


def test_status_has_every_part(used: Server) -> None:
    status: Any = used.call("GET", admin_api.STATUS)
    holds(admin_api.Health, status)
    holds(admin_api.StoreStatus, status["store"])
    holds(admin_api.ExecutionStatus, status["execution"])
    assert status["store"]["max_bytes"] == used.state.max_size_bytes
    assert status["execution"]["sandbox"] == PROCESS_GROUP
    assert INSTANCE in status["instances"]
    holds(admin_api.CallCount, status["calls"]["ActionCache/GetActionResult"])
    holds(admin_api.CacheCount, status["action_cache"][INSTANCE])
    for counts in status["executions"].values():
        holds(admin_api.ExecutionCount, counts)


def test_runs_are_listed_by_instance(used: Server) -> None:
    answer: Any = used.call("GET", f"{admin_api.RUNS}?limit=1&instance={INSTANCE}")
    (run,) = answer["runs"]
    holds(admin_api.RunSummary, run)
    assert (run["run"], run["instance"]) == ("a-run", INSTANCE)
    assert used.call("GET", f"{admin_api.RUNS}?limit=1&instance=unused")["runs"] == []


def test_a_check_answers_with_proofs(server: Server) -> None:
    proofs: Any = server.call("POST", admin_api.CHECK, instance=INSTANCE)["proofs"]
    for one in proofs:
        holds(proof.Proof, one)
        assert one["ok"], one
    assert proof.INSTANCE in [one["name"] for one in proofs]


def test_errors_have_a_code_and_a_message(server: Server) -> None:
    with pytest.raises(admin.AdminRefusedError) as unknown:
        server.call("GET", "/v1/nothing")
    assert (unknown.value.status, unknown.value.code) == (404, "not-found")
    assert str(unknown.value)
    stranger = HTTPConnection("127.0.0.1", server.state.admin_port, timeout=PATIENCE_S)
    with closing(stranger):
        stranger.request("GET", admin_api.HEALTH, headers={"Authorization": "Bearer wrong"})
        response = stranger.getresponse()
        answer = json.load(response)
    assert (response.status, answer["error"]) == (401, "unauthenticated")
    assert answer["message"]


def test_a_server_proves_that_it_is_that_of_the_state_file(server: Server) -> None:
    answer = admin.prove(server.state, PATIENCE_S)
    address = f"grpc://127.0.0.1:{server.state.grpc_port}"
    assert (answer.status, answer.grpc_address) == (admin_api.SERVING, address)


@pytest.mark.parametrize("name", ["token", "boot_id", "grpc_port"])
def test_nobody_is_taken_for_the_server_of_another_state_file(server: Server, name: str) -> None:
    other = {"token": "t" * 43, "boot_id": "b", "grpc_port": 1}[name]
    with pytest.raises(admin.AdminError, match="not the reapi-local server"):
        admin.prove(replace(server.state, **{name: other}), PATIENCE_S)


def test_the_next_start_after_a_crash_has_another_token(servers: Servers, tmp_path: Path) -> None:
    first = servers.start(data_dir=tmp_path / "data")
    before = first.state
    first.process.kill()
    first.process.wait()
    after = servers.start(data_dir=tmp_path / "data").state
    assert after.token != before.token
    assert len(after.token) >= MIN_TOKEN_CHARACTERS


def test_a_second_server_on_a_data_directory_says_so(servers: Servers, server: Server) -> None:
    second = servers.start()
    assert isinstance(second.line, NotStarted)
    assert second.line.error == ready_line.DATA_DIR_IN_USE
    assert second.process.wait(PATIENCE_S) != 0
    assert server.process.poll() is None


def test_a_port_that_is_taken_is_told(servers: Servers, server: Server, tmp_path: Path) -> None:
    port = server.state.grpc_port
    second = servers.start(flag(setting_names.PORT), str(port), data_dir=tmp_path / "other")
    assert isinstance(second.line, NotStarted)
    assert second.line.error == ready_line.PORT_IN_USE
    assert str(port) in second.line.message


def test_a_data_directory_that_is_a_file_is_told(servers: Servers, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    second = servers.start(data_dir=tmp_path / "file")
    assert isinstance(second.line, NotStarted)
    assert second.line.error == ready_line.DATA_DIR_UNUSABLE


def test_a_stop_leaves_what_the_next_start_takes_over(servers: Servers, tmp_path: Path) -> None:
    # Not the usual port, which another server on this machine may take in between.
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    first = servers.start(flag(setting_names.PORT), str(port), data_dir=tmp_path / "data")
    before = first.state
    assert first.call("POST", admin_api.STOP) == {"status": admin_api.STOPPING}
    assert first.process.wait(PATIENCE_S) == 0
    assert first.state == replace(before, pid=None)

    began = time.time()
    after = servers.start(data_dir=tmp_path / "data").state
    assert (after.token, after.grpc_port) == (before.token, port)
    assert after.boot_id != before.boot_id
    assert after.started_at >= began - 1
