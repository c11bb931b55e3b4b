"""An action that has the host's network and knows ports and token reaches its server in no way."""

from __future__ import annotations

import json
import os
import socket
from pathlib import Path

import pytest

from execute.port_attacks import PLAIN_WAYS, TRY_ALL_WAYS_TO_A_PORT
from rpc.actions import NETWORK, execute, make
from rpc.helpers import Client
from server.process import state_of

ADMINISTER = """
import sys, urllib.request
port, token = sys.argv[1:]
request = urllib.request.Request(f"http://127.0.0.1:{port}/v1/status")
request.add_header("Authorization", f"Bearer {token}")
print(urllib.request.urlopen(request).read())
"""


async def test_an_action_reaches_its_server_in_no_way(data: Path) -> None:
    state = state_of(data)
    client = Client(
        f"127.0.0.1:{state['grpc_port']}", [("authorization", f"Bearer {state['token']}")]
    )

    async def run(*arguments: str) -> tuple[int, bytes, bytes]:
        action = await make(client, "/usr/bin/env", "python3", "-c", *arguments, **NETWORK)
        result = (await execute(client, action, inline_stdout=True, inline_stderr=True)).result
        return result.exit_code, result.stdout_raw, result.stderr_raw

    try:
        with socket.create_server(
            ("::", 0), family=socket.AF_INET6, dualstack_ipv6=True
        ) as listener:
            _, through, _ = await run(TRY_ALL_WAYS_TO_A_PORT, str(listener.getsockname()[1]))
        assert set(json.loads(through)) >= PLAIN_WAYS
        for port in (state["grpc_port"], state["admin_port"]):
            _, through, refused = await run(TRY_ALL_WAYS_TO_A_PORT, str(port))
            if "connect" in json.loads(through) and _linux() < (6, 7):
                pytest.skip("this kernel can't keep processes from ports")
            assert json.loads(through) == [], refused
        code, _, told = await run(ADMINISTER, str(state["admin_port"]), state["token"])
        assert code != 0
        assert b"Permission denied" in told
    finally:
        await client.channel.close()


def _linux() -> tuple[int, ...]:
    return tuple(int(number) for number in os.uname().release.split(".")[:2])
