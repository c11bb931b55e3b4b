"""Connections that send nothing, more than a process may usually have, and a client that works."""

from __future__ import annotations

import asyncio
import contextlib
import resource
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from reapi_local.admin import patient_http
from rpc.helpers import TRANSPORTS, Client, serving
from server.process import Process, admin, state_of

CONNECTIONS = 1500
USUAL_LIMIT = 1024


@contextlib.contextmanager
def idle_connections(*ports: int) -> Iterator[list[socket.socket]]:
    """To each of these ports; started all at once, without waiting until they are accepted."""
    with contextlib.ExitStack() as stack:
        made = []
        for _ in range(CONNECTIONS):
            for port in ports:
                one = stack.enter_context(socket.socket())
                one.setblocking(False)
                one.connect_ex(("127.0.0.1", port))
                made.append(one)
        yield made


def health(data: Path) -> int:
    """Asked again, as launchers do, until the server has had the second that it needs."""
    while True:
        with contextlib.suppress(ConnectionError):
            return admin(data, "GET", "/v1/health")[0]


@contextlib.contextmanager
def usual_soft_limit() -> Iterator[None]:
    """For processes that are started in the block, the limit that most systems give."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard < 4 * CONNECTIONS:
        pytest.skip(f"at most {hard} files may be open here")
    resource.setrlimit(resource.RLIMIT_NOFILE, (USUAL_LIMIT, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, 4 * CONNECTIONS), hard))


@pytest.mark.parametrize("limit", ["raised", "not raised"])
@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_idle_connections_do_not_stop_others(
    tmp_path: Path, transport: str, limit: str
) -> None:
    data = tmp_path / "data"
    with usual_soft_limit():
        process = Process("--data-dir", str(data), "--port", "0", "--transport", transport)
    with process:
        process.serving()
        pid, hard = process.popen.pid, resource.RLIMIT_NOFILE
        if limit == "raised":
            assert resource.prlimit(pid, hard)[0] >= 4 * CONNECTIONS
        else:
            resource.prlimit(pid, hard, (USUAL_LIMIT, USUAL_LIMIT))
        state = state_of(data)
        headers = [("authorization", f"Bearer {state['token']}")]
        address = f"127.0.0.1:{state['grpc_port']}"
        before = Client(address, headers)
        digest = await before.upload(b"before")
        # The admin interface hangs up on idle clients in any case, which would make room.
        ports = [state["grpc_port"], *([state["admin_port"]] if limit == "raised" else [])]
        with idle_connections(*ports):
            after = Client(address, headers)
            assert await after.download(await after.upload(b"after")) == b"after"
            assert await before.download(digest) == b"before"
            assert health(data) == 200
        for client in (before, after):
            await client.channel.close()


@pytest.mark.parametrize("head", [b"", b"G", b"GET /v1/health HTTP/1.1\r\n"])
async def test_the_admin_interface_hangs_up_on_who_sends_no_request(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, head: bytes
) -> None:
    monkeypatch.setattr(patient_http, "_HEAD_SECONDS", 0.05)
    async with serving(tmp_path, "grpcio") as server:
        loop = asyncio.get_running_loop()
        with socket.create_connection(("127.0.0.1", server.app.admin_port)) as idle:
            idle.setblocking(False)
            await loop.sock_sendall(idle, head)
            assert await loop.sock_recv(idle, 1) == b""
