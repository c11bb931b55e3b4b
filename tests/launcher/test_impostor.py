"""Who takes the ports of a server that was killed never gets its token, nor a build's processes."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path

import pytest

from launcher.harness import Site
from launcher.impostor import Answer, http, listening, relay
from launcher.server_process import Servers
from patience import PATIENCE_S
from plugin.test_autostart import Options
from reapi_contract import admin_api, port_holder
from reapi_contract.data_dir import STATE_FILE
from reapi_contract.state import State, read_state
from reapi_local_launcher.server.process import ExitWatch
from reapi_local_plugin.build_server import server_of


def killed(site: Site) -> State:
    """A server that was killed, whose ports nobody holds, and whose process id another one has."""
    site.json("up")
    state = read_state(site.data_dir)
    assert state is not None
    assert state.pid is not None
    watch = ExitWatch(state.pid)
    os.kill(state.pid, signal.SIGKILL)
    assert watch.wait(PATIENCE_S)
    watch.close()
    port_holder.end_if_any(site.data_dir)
    rewrite_state(site, pid=os.getpid())
    return state


def rewrite_state(site: Site, **changes: object) -> None:
    (site.data_dir / STATE_FILE).write_text(json.dumps({**site.state(), **changes}))


def answers(state: State) -> dict[str, Answer]:
    """What an impostor can say that knows all of a state file but the token."""
    known = {
        "api": 1,
        "status": admin_api.SERVING,
        "pid": state.pid,
        "boot_id": state.boot_id,
        "version": state.version,
        "grpc_address": f"grpc://127.0.0.1:{state.grpc_port}",
        "proof": "0" * 64,
    }
    return {
        "health": lambda _: http(known),
        "no proof": lambda _: http({**known, "proof": ""}),
        "an odd proof": lambda _: http({**known, "proof": "\udc80é"}),
        "another shape": lambda _: http([known]),
        "not found": lambda _: http({}).replace(b"200 OK", b"404 Not Found"),
        "nothing": lambda _: b"",
        "noise": lambda _: b"\xff" * 70_000 + b"\r\n\r\n",
        "an endless head": lambda _: b"HTTP/1.1 200 OK\r\nContent-Length: 99999999\r\n\r\n{",
    }


def test_an_impostor_never_hears_the_token_and_is_no_server(site: Site) -> None:
    state = killed(site)
    for name, answer in answers(state).items():
        with listening(state.grpc_port, state.admin_port, answer=answer) as impostor:
            status = site.json("status")
            check = site.run("check")
            stopped = site.json("down", "--kill")
        assert impostor.calls > 0, name
        assert state.token.encode() not in impostor.heard, name
        assert (status["condition"], check.returncode, stopped) == ("absent", 1, {"stopped": False})


def test_the_token_of_a_killed_server_is_not_shown_but_can_be_replaced(site: Site) -> None:
    state = killed(site)
    shown = site.run("token", "show")
    assert (shown.returncode, shown.stdout) == (1, "")
    assert "`reapi-local up`" in shown.stderr
    assert site.run("token", "rotate").returncode == 0
    rotated = site.run("token", "show").stdout.strip()
    assert rotated != state.token
    site.json("up")
    assert site.state()["token"] == rotated


def test_a_build_gets_another_server_with_another_token(site: Site) -> None:
    state = killed(site)
    options = Options(site.data_dir)
    answer = answers(state)["health"]
    with listening(state.grpc_port, state.admin_port, answer=answer) as impostor:
        address, token = server_of(options, options.reapi, site.env, site.root)
    now = read_state(site.data_dir)
    assert now is not None
    assert now.grpc_port != state.grpc_port
    assert address == f"grpc://127.0.0.1:{now.grpc_port}"
    assert token == now.token != state.token
    assert state.token.encode() not in impostor.heard
    assert now.token.encode() not in impostor.heard


def test_a_proof_that_is_passed_on_from_the_live_server_proves_nothing(site: Site) -> None:
    site.json("up")
    state = read_state(site.data_dir)
    assert state is not None
    with listening(0, answer=relay(state.admin_port)) as impostor:
        rewrite_state(site, admin_port=impostor.ports[0])
        assert not site.json("status")["running"]
        assert site.run("check").returncode == 1
    assert impostor.calls > 0
    assert state.token.encode() not in impostor.heard
    rewrite_state(site, admin_port=state.admin_port)
    assert site.json("status")["running"]


@pytest.mark.parametrize("path", [admin_api.HEALTH, admin_api.STOP])
def test_a_call_proves_the_server_first(servers: Servers, tmp_path: Path, path: str) -> None:
    """The server may have been killed since it was found."""
    from reapi_local_launcher.server import admin_client as admin

    server = servers.start(data_dir=tmp_path / "data")
    state = server.state
    server.process.kill()
    server.process.wait()
    port_holder.end_if_any(server.data_dir)
    with (
        listening(state.admin_port, answer=answers(state)["health"]) as impostor,
        pytest.raises(admin.AdminError),
    ):
        admin.call(state, "GET", path, timeout_s=PATIENCE_S)
    assert b"GET " in impostor.heard
    assert state.token.encode() not in impostor.heard
