"""The ports of a killed server are held until the next start, or until a command gives them up."""

from __future__ import annotations

import os
import signal
import socket
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from launcher.harness import Site
from patience import PATIENCE_S
from reapi_local_launcher.server.process import ExitWatch

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="only Linux has this")


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    made = Site(tmp_path / "installed", real=True)
    yield made
    made.clean_up()


def killed(site: Site, *flags: str) -> list[int]:
    """The ports of a server that was killed."""
    up = site.json("up", *flags)
    watch = ExitWatch(up["pid"])
    os.kill(up["pid"], signal.SIGKILL)
    assert watch.wait(PATIENCE_S)
    watch.close()
    return [up["grpc_port"], up["admin_port"]]


def free(ports: list[int]) -> list[int]:
    """Those of the ports that another program can listen on."""
    found = []
    for port in ports:
        try:
            socket.create_server(("127.0.0.1", port)).close()
        except OSError:
            continue
        found.append(port)
    return found


@pytest.mark.parametrize("command", [("down",), ("purge", "--yes")])
def test_a_command_gives_up_the_ports_of_a_killed_server(
    site: Site, command: tuple[str, ...]
) -> None:
    ports = killed(site)
    assert free(ports) == []
    assert site.run(*command).returncode == 0
    assert free(ports) == ports


def test_a_server_that_is_killed_by_command_leaves_its_ports(site: Site) -> None:
    up = site.json("up")
    ports = [up["grpc_port"], up["admin_port"]]
    assert site.json("down", "--kill") == {"stopped": True}
    assert free(ports) == ports


def test_other_commands_leave_the_ports_of_a_killed_server_held(site: Site) -> None:
    ports = killed(site)
    for command in (("status",), ("check",), ("gc",), ("token", "rotate")):
        site.run(*command)
        assert free(ports) == [], command
    up = site.json("up")
    assert [up["grpc_port"], up["admin_port"]] == ports


def test_a_held_port_is_found_below_a_long_path(site: Site) -> None:
    """Longer than the address of a unix socket may be."""
    site.data_dir = site.root / ("long" * 50) / "data"
    flag = f"--data-dir={site.data_dir}"
    ports = killed(site, flag)
    assert free(ports) == []
    assert killed(site, flag) == ports
    assert free(ports) == []
    site.json("down", flag)
    assert free(ports) == ports
