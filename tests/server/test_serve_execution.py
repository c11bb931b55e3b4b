"""What becomes of actions when the server is killed, and of a server that can't execute any."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import grpc

from reapi_local.proto.remote_execution_pb2 import (
    ExecuteRequest,
    GetActionResultRequest,
    RequestMetadata,
    ToolDetails,
)
from rpc.actions import EXECUTING, NETWORK, Gate, Seen, execute, make, until
from rpc.helpers import Client
from server.process import Process, state_of

ACTIONS = 20
PANTS = (
    "google.devtools.remoteexecution.v1test.requestmetadata-bin",
    RequestMetadata(tool_details=ToolDetails(tool_name="pants")).SerializeToString(),
)


def serve(data: Path, *more: str) -> Process:
    flags = ("--execution", "on", "--slots", str(ACTIONS), "--watch-grace", "3600")
    return Process("--data-dir", str(data), *flags, *more)


def connect(data: Path) -> Client:
    state = state_of(data)
    return Client(
        f"127.0.0.1:{state['grpc_port']}", [("authorization", f"Bearer {state['token']}")]
    )


async def test_a_killed_server_leaves_no_process_and_nothing_wrong_in_the_cache(
    tmp_path: Path,
) -> None:
    async with Gate() as gate:
        with serve(tmp_path) as killed:
            killed.serving()
            client = connect(tmp_path)
            actions, streams = [], []
            for number in range(ACTIONS):
                script = f"echo {number} >made; {gate.script}"
                actions.append(
                    await make(client, "/bin/bash", "-c", script, outputs=["made"], **NETWORK)
                )
                streams.append(client.Execute(ExecuteRequest(action_digest=actions[-1])))
            visitors = [await gate.visitor() for _ in actions]
            for stream in streams:
                await until(stream, EXECUTING)
            killed.end(signal.SIGKILL)
            for visitor in visitors:
                assert await visitor.is_gone()
            await client.channel.close(None)
        with serve(tmp_path) as restarted:
            restarted.serving()
            client = connect(tmp_path)
            for action in actions:
                call = client.GetActionResult(GetActionResultRequest(action_digest=action))
                assert await call.code() is grpc.StatusCode.NOT_FOUND
            again = await make(client, "/bin/sh", "-c", "echo again")
            seen = await execute(client, again, inline_stdout=True)
            assert seen.result.stdout_raw == b"again\n"
            await client.channel.close(None)


def test_what_actions_of_a_killed_server_left_keeps_no_other_from_starting(tmp_path: Path) -> None:
    left = tmp_path / "sandbox" / "actions" / "0"
    left.mkdir(parents=True)
    descriptor = os.open(left, os.O_RDONLY)
    for _ in range(1500):  # deeper than a path may be long, and calls nest
        os.mkdir("directory", dir_fd=descriptor)
        below = os.open("directory", os.O_RDONLY, dir_fd=descriptor)
        os.close(descriptor)
        descriptor = below
    os.close(descriptor)
    with serve(tmp_path) as process:
        process.serving()
        assert not left.exists()


async def test_named_caches_above_their_limit_go_when_no_action_runs_with_them(
    tmp_path: Path,
) -> None:
    old, now = (tmp_path / "caches" / name for name in ("old", "now"))
    for age, directory in enumerate((now, old)):
        (directory / "pex_root").mkdir(parents=True)
        (directory / "pex_root" / "wheel").write_bytes(os.urandom(3 * 1024**2))
        os.utime(directory, (1e9 - age, 1e9 - age))
    deleted = "named caches that were not used lately are deleted"
    async with Gate() as gate:
        with serve(tmp_path, "--named-caches", "5MiB") as process:
            process.serving()
            process.logged(deleted)
            assert (old.exists(), now.exists()) == (False, True)
            client = connect(tmp_path)
            client.headers = [*client.headers, PANTS]
            write = "head -c 6000000 /dev/urandom >/reapi/caches/big"
            script = f"{write}; {gate.script}; ls /reapi/caches"
            action = await make(client, "/bin/bash", "-c", script, **NETWORK)
            request = ExecuteRequest(action_digest=action, inline_stdout=True)
            stream = client.Execute(request)
            visitor = await gate.visitor()
            # When an action of another instance has ended, the server looks at the sizes again.
            other = await make(client, "/bin/sh", "-c", "echo ended", instance="other")
            await execute(client, other, instance_name="other")
            process.logged(deleted)
            visitor.let_through()
            seen = Seen([operation async for operation in stream]).result
            assert seen.stdout_raw.split() == [b"came", b"go", b"big"]
            await client.channel.close(None)
            process.end(signal.SIGTERM)
    assert not now.exists()


def test_a_server_that_has_to_execute_and_can_t_says_why_and_doesn_t_start(tmp_path: Path) -> None:
    flags = ("--data-dir", str(tmp_path / "data"), "--execution", "on", "--sandbox", "bubblewrap")
    nothing_to_be_found = {"PATH": str(tmp_path)}
    with Process(*flags, env=nothing_to_be_found) as process:
        ready = process.ready()
        status, errors = process.end()
    assert (ready["ready"], ready["error"]) == (False, "no-sandbox")
    assert "bubblewrap" in ready["message"]
    assert status != 0
    assert ready["message"] in errors
