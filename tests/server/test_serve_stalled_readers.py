"""Readers that stop reading: what the server holds for them, and whether it serves others."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import pytest

from reapi_local.proto.bytestream_pb2 import ReadRequest
from rpc.helpers import MIB, TRANSPORTS, Client, blob_name
from server.process import Process, state_of

READERS_PER_CONNECTION = 50
CONNECTIONS = 4


def resident_mib(pid: int) -> int:
    status = Path(f"/proc/{pid}/status").read_text(encoding="utf-8")
    [line] = (line for line in status.splitlines() if line.startswith("VmRSS:"))
    return int(line.split()[1]) // 1024


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs /proc")
@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_stalled_readers_hold_little_memory_and_do_not_stop_others(
    tmp_path: Path, transport: str
) -> None:
    data_dir = tmp_path / "data"
    with Process("--data-dir", str(data_dir), "--port", "0", "--transport", transport) as process:
        process.serving()
        state = state_of(data_dir)
        address = f"127.0.0.1:{state['grpc_port']}"
        headers = [("authorization", f"Bearer {state['token']}")]
        clients = [Client(address, headers) for _ in range(CONNECTIONS)]
        blob = os.urandom(64 * MIB)
        digest = await clients[0].upload(blob)
        before = resident_mib(state["pid"])
        calls = [
            client.Read(ReadRequest(resource_name=blob_name(digest)), timeout=None)
            for client in clients
            for _ in range(READERS_PER_CONNECTION)
        ]
        for call in calls:
            assert (await call.read()).data
        other = Client(address, headers)
        assert await other.download(await other.upload(b"another")) == b"another"
        assert resident_mib(state["pid"]) - before < 400

        received = (await calls[-1].read()).data
        assert received in blob
        for call in calls:
            call.cancel()
        await asyncio.gather(*(client.channel.close() for client in (*clients, other)))
