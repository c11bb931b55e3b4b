"""Nobody takes the ports of a server that was killed: they stay its own until the next one."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from patience import PATIENCE_S
from server.process import Process, admin, quiet_port, stop

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="only Linux has this")

ANOTHER = 65534
TAKES = """
import errno, json, os, socket, sys
uid, addresses, ports = json.loads(sys.argv[1])
if uid:
    os.setgid(uid)
    os.setuid(uid)
got = []
for port in ports:
    for address in addresses:
        for options in ((), ("SO_REUSEADDR",), ("SO_REUSEPORT",), ("SO_REUSEADDR", "SO_REUSEPORT")):
            with socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET) as taken:
                for option in options:
                    taken.setsockopt(socket.SOL_SOCKET, getattr(socket, option), 1)
                try:
                    taken.bind((address, port))
                    taken.listen()
                except OSError as error:
                    assert error.errno == errno.EADDRINUSE, error
                else:
                    got.append((port, address, options))
print(json.dumps(got))
"""
ON_LOOPBACK = ("127.0.0.1", "0.0.0.0", "::ffff:127.0.0.1", "::")


@pytest.fixture(params=["grpcio", "native"])
def flags(request: pytest.FixtureRequest, data: Path) -> tuple[str, ...]:
    return ("--data-dir", str(data), "--transport", request.param, "--execution", "off")


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return tmp_path / "data"


def users() -> Iterator[int | None]:
    """This user and, if it may, another one."""
    yield None
    if os.getuid() == 0:
        yield ANOTHER


def taken(*ports: int, addresses: tuple[str, ...] = ON_LOOPBACK) -> list[Any]:
    """Which of the ports other programs of any user could listen on, and how."""
    got: list[Any] = []
    for uid in users():
        arguments = json.dumps([uid, addresses, ports])
        done = subprocess.run(
            [sys.executable, "-I", "-c", TAKES, arguments],
            stdout=subprocess.PIPE,
            check=True,
            cwd="/",
        )
        got += [(uid, *one) for one in json.loads(done.stdout)]
    return got


def holders(data: Path) -> list[int]:
    """The processes besides servers whose command lines name a data directory."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                words = (entry / "cmdline").read_bytes().split(b"\0")
            except OSError:
                continue
            if os.fsencode(data / "holder.sock") in words:
                found.append(int(entry.name))
    return found


def ports_of(process: Process) -> tuple[int, int]:
    ready = process.serving()
    return ready["grpc_port"], ready["admin_port"]


def killed(*flags: str) -> tuple[int, int]:
    """The ports of a server that was killed."""
    with Process(*flags) as process:
        ports = ports_of(process)
        process.end(signal.SIGKILL)
    return ports


def refused(port: int, address: str = "127.0.0.1") -> bool:
    try:
        socket.create_connection((address, port), PATIENCE_S).close()
    except ConnectionRefusedError:
        return True
    return False


def test_nobody_can_take_the_ports_of_a_killed_server(flags: tuple[str, ...], data: Path) -> None:
    before = None
    for _ in range(3):
        with Process(*flags) as process:
            ports = ports_of(process)
            assert before in (None, ports)
            assert taken(*ports) == [], "beside the running server"
            assert admin(data, "GET", "/v1/status")[0] == 200
            process.end(signal.SIGKILL)
        assert taken(*ports) == []
        assert [refused(port) for port in ports] == [True, True]
        before = ports


@pytest.mark.slow
def test_ten_killed_servers_leave_one_process(flags: tuple[str, ...], data: Path) -> None:
    lives = set()
    for _ in range(10):
        lives.add(killed(*flags))
        assert len(holders(data)) == 1
    with Process(*flags) as process:
        lives.add(ports_of(process))
        stop(process)
    assert len(lives) == 1
    assert holders(data) == []


@pytest.mark.parametrize("end", [signal.SIGTERM, signal.SIGINT])
def test_a_stop_in_good_order_frees_the_ports_at_once(
    flags: tuple[str, ...], data: Path, end: int
) -> None:
    with Process(*flags) as process:
        ports = ports_of(process)
        [holder] = holders(data)
        assert os.getpgid(holder) == holder, "Ctrl-C in a terminal does not end it too early"
        status, errors = process.end(end)
        assert status == 0, errors
    assert holders(data) == []
    for port in ports:
        with socket.create_server(("127.0.0.1", port)):
            pass


def test_ports_that_the_next_server_does_not_want_are_free(
    flags: tuple[str, ...], data: Path
) -> None:
    grpc_port, admin_port = killed(*flags)
    with Process(*flags, "--port", str(quiet_port())) as process:
        now = ports_of(process)
        assert now[0] != grpc_port
        assert now[1] == admin_port
        with socket.create_server(("127.0.0.1", grpc_port)):
            pass
        assert taken(*now) == []


def test_a_port_that_was_asked_for_is_taken_over(flags: tuple[str, ...], data: Path) -> None:
    asked = ("--port", str(quiet_port()))
    ports = killed(*flags, *asked)
    with Process(*flags, *asked) as process:
        assert ports_of(process) == ports


def test_a_server_that_cannot_start_leaves_the_ports_held(
    flags: tuple[str, ...], data: Path
) -> None:
    ports = killed(*flags)
    with socket.create_server(("127.0.0.1", 0)) as other:
        busy = str(other.getsockname()[1])
        with Process(*flags, "--port", busy) as process:
            assert process.ready()["error"] == "port-in-use"
            process.end()
    assert taken(*ports) == []
    with Process(*flags) as process:
        assert ports_of(process) == ports


@pytest.mark.parametrize(
    ("host", "addresses"),
    [
        ("localhost", tuple({one[4][0] for one in socket.getaddrinfo("localhost", 0)})),
        ("::1", ("::1",)),
        ("0.0.0.0", ("127.0.0.1", "0.0.0.0", "::1", "::")),
        ("::", ("127.0.0.1", "0.0.0.0", "::1", "::")),
    ],
)
def test_the_port_is_held_on_all_addresses_of_the_host(
    flags: tuple[str, ...], host: str, addresses: tuple[str, ...]
) -> None:
    addresses = tuple(filter(is_of_this_machine, addresses))
    if not addresses:
        pytest.skip("this machine has no IPv6")
    ports = set()
    for _ in range(2):
        with Process(*flags, "--host", host) as process:
            grpc_port, _ = ports_of(process)
            assert taken(grpc_port, addresses=addresses) == []
            process.end(signal.SIGKILL)
        assert taken(grpc_port, addresses=addresses) == []
        ports.add(grpc_port)
    assert len(ports) == 1


def is_of_this_machine(address: str) -> bool:
    try:
        with socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET) as tried:
            tried.bind((address, 0))
    except OSError:
        return False
    return True


@pytest.mark.slow
def test_servers_that_start_together_share_no_port(tmp_path: Path) -> None:
    """Half of them after a crash, and all want the same port."""
    directories = [tmp_path / str(number) for number in range(8)]
    kinds = ("grpcio", "native")
    common = [
        ("--data-dir", str(one), "--transport", kind, "--execution", "off")
        for one, kind in zip(directories, kinds * 4, strict=True)
    ]
    with ThreadPoolExecutor(len(common)) as pool:
        before = dict(enumerate(pool.map(lambda flags: killed(*flags), common[:4])))
        processes = list(pool.map(lambda flags: Process(*flags), common))
        try:
            ports = list(pool.map(ports_of, processes))
            assert {number: ports[number] for number in before} == before
            every = [port for pair in ports for port in pair]
            assert len(set(every)) == len(every)
            assert taken(*every) == []
            boots = {admin(one, "GET", "/v1/health")[1]["boot_id"] for one in directories}
            assert len(boots) == len(directories)
            list(pool.map(stop, processes))
        finally:
            for process in processes:
                process.__exit__()


@pytest.mark.parametrize("why", ["nobody came for a day", "its directory is gone"])
def test_the_process_ends_when_nobody_wants_the_ports_any_more(
    data: Path, monkeypatch: pytest.MonkeyPatch, why: str
) -> None:
    from reapi_local.compose import holder_process

    monkeypatch.setattr(holder_process, "_LOOK_S", 0.001)
    path = data / "socket"
    data.mkdir()
    ours, theirs = socket.socketpair()
    with socket.socket(socket.AF_UNIX) as listener, theirs, ThreadPoolExecutor(1) as pool:
        listener.bind(str(path))
        listener.listen()
        inode = path.stat().st_ino
        if why == "nobody came for a day":
            monkeypatch.setattr(holder_process, "_LONGEST_S", 0.0)
        else:
            shutil.rmtree(data)
        holding = pool.submit(holder_process.hold, str(path), inode, listener, theirs, [])
        assert not holding.done(), "the server runs"
        ours.close()
        holding.result(PATIENCE_S)
