"""What a server needs while it runs is in its data directory, and none of it where others clean."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from reapi_contract import ready_line
from reapi_contract.proof import RESTART
from reapi_contract.ready_line import NotStarted, Ready, ReadyLine
from rpc.actions import execute, shell
from rpc.helpers import Client, serving

LONG = "long" * 50
"""Longer than the address of a unix socket may be."""


def started(
    data_dir: Path, transport: str, **environment: str
) -> tuple[subprocess.Popen[bytes], ReadyLine | None]:
    """A server in a process of its own, and what it says about its start."""
    reader, writer = os.pipe()
    settings = ["--data-dir", str(data_dir), "--transport", transport, "--sync", "relaxed"]
    process = subprocess.Popen(
        [sys.executable, "-m", "reapi_local", "serve", *settings, ready_line.FLAG, str(writer)],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), **environment},
        pass_fds=(writer,),
    )
    os.close(writer)
    with open(reader, "rb") as pipe:
        return process, ready_line.decode(pipe.readline())


@asynccontextmanager
async def server_process(
    data_dir: Path, transport: str, **environment: str
) -> AsyncIterator[tuple[subprocess.Popen[bytes], Client]]:
    """Such a process, which is killed at the end, and a client of it."""
    process, line = started(data_dir, transport, **environment)
    try:
        assert isinstance(line, Ready), line
        token = json.loads((data_dir / "server.json").read_text(encoding="utf-8"))["token"]
        client = Client(f"127.0.0.1:{line.grpc_port}", [("authorization", f"Bearer {token}")])
        yield process, client
        await client.channel.close()
    finally:
        process.kill()
        process.wait()


async def streams_work(client: Client) -> None:
    """A stream of requests, one of responses, and one call after another."""
    data = os.urandom(3_000_000)
    assert await client.download(await client.upload(data)) == data
    action = await shell(client, f"echo {os.urandom(8).hex()} >made", outputs=["made"])
    assert [file.path for file in (await execute(client, action)).result.output_files] == ["made"]


@pytest.mark.skipif(sys.platform != "linux", reason="executes, for which it needs a sandbox")
async def test_a_server_depends_neither_on_temporary_files_nor_on_the_length_of_paths(
    tmp_path: Path, transport: str
) -> None:
    data, temporary = tmp_path / LONG / "data", tmp_path / (LONG + "er")
    environment = {"TMPDIR": str(temporary), "XDG_RUNTIME_DIR": str(temporary)}
    temporary.mkdir()
    async with server_process(data, transport, **environment) as (process, client):
        assert list(temporary.iterdir()) == []
        shutil.rmtree(temporary)
        await streams_work(client)
        process.kill()
        await asyncio.to_thread(process.wait)
    temporary.mkdir()
    async with server_process(data, transport, **environment) as (process, client):
        await streams_work(client)
        assert len(list((data / "sockets").iterdir())) == (1 if transport == "native" else 0)
        process.terminate()
        await asyncio.to_thread(process.wait)
    assert list((data / "sockets").iterdir()) == []
    assert list(temporary.iterdir()) == []


async def test_the_self_check_finds_that_streams_are_broken(tmp_path: Path) -> None:
    async with serving(tmp_path / "data", "native") as server:
        (socket,) = (tmp_path / "data" / "sockets").iterdir()
        socket.unlink()
        proofs = {proof.name: proof for proof in await server.app.check("")}
        assert proofs["capabilities"].ok
        failed = proofs["blob"]
        assert not failed.ok
        assert "UNAVAILABLE" in failed.detail
        assert failed.remedy == RESTART
    async with serving(tmp_path / "data", "native") as server:
        assert all(proof.ok for proof in await server.app.check(""))


async def test_where_no_unix_socket_can_be_made_grpcio_serves_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    is_directory = os.path.isdir
    monkeypatch.setattr(  # as on a system without /proc
        os.path, "isdir", lambda path: not str(path).startswith("/proc/") and is_directory(path)
    )
    async with serving(tmp_path / LONG / "data", "auto") as server:
        data = os.urandom(100_000)
        assert await server.client.download(await server.client.upload(data)) == data
        assert all(proof.ok for proof in await server.app.check(""))
    assert "using the transport grpcio" in caplog.text


def test_a_start_that_fails_for_its_files_sends_nobody_to_another_address(tmp_path: Path) -> None:
    (tmp_path / "server.json.new").mkdir()
    process, line = started(tmp_path, "grpcio")
    assert process.wait() == 3
    assert isinstance(line, NotStarted)
    assert line.error == ready_line.DATA_DIR_UNUSABLE
    assert "server.json.new" in line.message
    assert "--data-dir" in line.remedy
    assert "--host" not in line.message + line.remedy
