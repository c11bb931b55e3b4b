"""Actions whose outputs take no space and would take minutes to read: holes, and links."""

from __future__ import annotations

from pathlib import Path

import pytest

from reapi_local.errors import Code
from rpc.actions import execute, make
from rpc.helpers import Client
from server.process import state_of

# Each is below the limit for the sum of all sizes.
ATTACKS = {
    "a hole": "truncate -s 60G made/file",
    "many small holes": "for n in $(seq 60); do truncate -s 1G made/$n; done",
    "many links to one file": "head -c 64M /dev/zero >made/0; "
    "for n in $(seq 900); do ln made/0 made/$n; done",
}


@pytest.mark.parametrize("attack", ATTACKS)
async def test_what_took_no_space_is_refused_before_it_is_read(data: Path, attack: str) -> None:
    state = state_of(data)
    client = Client(
        f"127.0.0.1:{state['grpc_port']}", [("authorization", f"Bearer {state['token']}")]
    )
    script = f"mkdir made && {ATTACKS[attack]}"
    read_before = bytes_read(state["pid"])
    action = await make(client, "/bin/bash", "-c", script, outputs=["made"])
    response = (await execute(client, action)).response
    assert response.status.code == Code.FAILED_PRECONDITION, response
    assert "take no space" in response.status.message
    assert bytes_read(state["pid"]) - read_before < 8 << 30
    await client.channel.close()


def bytes_read(pid: int) -> int:
    """What a process has read so far, from whatever file."""
    lines = Path(f"/proc/{pid}/io").read_text(encoding="utf-8").splitlines()
    [line] = (line for line in lines if line.startswith("rchar:"))
    return int(line.split()[1])


async def test_holes_within_reason_are_stored_like_other_bytes(data: Path) -> None:
    state = state_of(data)
    client = Client(
        f"127.0.0.1:{state['grpc_port']}", [("authorization", f"Bearer {state['token']}")]
    )
    action = await make(client, "/usr/bin/truncate", "-s", "20M", "made", outputs=["made"])
    [made] = (await execute(client, action)).result.output_files
    assert made.digest.size_bytes == 20 << 20
    assert await client.download(made.digest) == bytes(20 << 20)
    await client.channel.close()
