"""`reapi-local token rotate`: what had the old token is out, and Pants and commands go on."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest

from launcher.harness import Site
from patience import PATIENCE_S
from plugin.test_autostart import Options
from reapi_contract import admin_api
from reapi_contract.sandbox_levels import PROCESS_GROUP
from reapi_contract.state import State, read_state
from reapi_local.proto import remote_execution_pb2 as re_pb2
from reapi_local_launcher.server.admin_client import AdminRefusedError
from reapi_local_launcher.server.running import find_in
from reapi_local_plugin.build_server import server_of

_CAPABILITIES = "/build.bazel.remote.execution.v2.Capabilities/GetCapabilities"


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    made = Site(tmp_path_factory.mktemp("site") / "root", real=True)
    made.json("up", f"--server-python={sys.executable}", f"--sandbox={PROCESS_GROUP}")
    yield made
    made.clean_up()


def state_of(site: Site) -> State:
    state = read_state(site.data_dir)
    assert state is not None
    return state


def accepts(state: State, token: str) -> bool:
    headers = (("authorization", f"Bearer {token}"),)
    with grpc.insecure_channel(f"127.0.0.1:{state.grpc_port}") as channel:
        call = channel.unary_unary(
            _CAPABILITIES, lambda message: message.SerializeToString(), bytes
        )
        answer = call.future(re_pb2.GetCapabilitiesRequest(), metadata=headers, timeout=PATIENCE_S)
        assert answer.code() in (grpc.StatusCode.OK, grpc.StatusCode.UNAUTHENTICATED)
        return answer.code() is grpc.StatusCode.OK


def test_a_running_server_takes_the_new_token_at_once(real: Site) -> None:
    options = Options(real.data_dir)
    before = state_of(real)
    assert server_of(options, options.reapi, real.env, real.root)[1] == before.token
    assert accepts(before, before.token)

    done = real.run("token", "rotate")
    now = state_of(real)

    assert done.returncode == 0, done.stderr
    assert before.token not in done.stdout
    assert now.token not in done.stdout
    assert now.token != before.token
    assert now.boot_id == before.boot_id, "it was not restarted"
    assert not accepts(now, before.token)
    assert accepts(now, now.token)
    assert server_of(options, options.reapi, real.env, real.root)[1] == now.token
    assert real.json("check")["ok"]
    assert (real.data_dir / "server.json").stat().st_mode & 0o777 == 0o600


def test_a_server_without_a_further_token_says_that_a_restart_helps(real: Site) -> None:
    refused = None
    for _ in range(100):
        running = find_in(real.data_dir, PATIENCE_S)
        assert running is not None
        try:
            running.call("POST", admin_api.ROTATE_TOKEN, timeout_s=PATIENCE_S)
        except AdminRefusedError as error:
            refused = error
            break
    assert refused is not None
    assert refused.status == 409
    last = state_of(real)

    done = real.run("token", "rotate")
    said = " ".join(done.stderr.split())
    assert done.returncode == 1
    assert "The token was not changed." in said
    assert "16 times since the server started" in said
    assert "Restart the server: `reapi-local down`, then `reapi-local up`" in said
    assert state_of(real).token == last.token
    assert accepts(last, last.token)

    real.json("down")
    real.json("up", f"--server-python={sys.executable}", f"--sandbox={PROCESS_GROUP}")
    assert state_of(real).token == last.token
    assert real.run("token", "rotate").returncode == 0
    now = state_of(real)
    assert accepts(now, now.token)
    assert not accepts(now, last.token)


def test_the_next_start_keeps_the_new_token(site: Site) -> None:
    site.json("up")
    site.run("token", "rotate")
    rotated = site.state()["token"]
    site.json("down")
    site.json("up")
    assert site.state()["token"] == rotated


def test_a_stopped_server_starts_with_the_new_token(site: Site) -> None:
    site.json("up")
    site.json("down")
    before = site.state()["token"]
    done = site.run("token", "rotate")
    rotated = site.run("token", "show").stdout.strip()
    assert (done.returncode, rotated != before, len(rotated)) == (0, True, 43)
    site.json("up")
    assert site.state()["token"] == rotated


def test_without_a_server_there_is_nothing_to_rotate(site: Site, tmp_path: Path) -> None:
    done = site.run("token", "rotate", f"--data-dir={tmp_path / 'none'}")
    assert done.returncode == 1
    assert "There is no token." in done.stderr
    assert not (tmp_path / "none").exists()


def test_a_server_that_hangs_keeps_its_token(site: Site) -> None:
    pid = int(site.json("up")["pid"])
    before = site.state()["token"]
    os.kill(pid, signal.SIGSTOP)
    done = site.run("token", "rotate")
    assert (done.returncode, site.state()["token"]) == (1, before)
    assert "`reapi-local down --kill`" in " ".join(done.stderr.split())
