"""A server that is absent, starting or hung is called so by each command, with its own remedy."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from launcher.harness import REAL, Site
from reapi_contract.server_lock import read_holder

pytestmark = pytest.mark.skipif(REAL, reason="holds back the stand-in server")


@contextmanager
def starting(site: Site) -> Iterator[tuple[subprocess.Popen[str], int]]:
    """An `up` that waits, and the process of its server, which is not ready until the end."""
    gate = site.root / "gate"
    os.mkfifo(gate)
    usual = site.env
    site.env = {**usual, "FAKE_SERVER_GATE": str(gate)}
    up = site.start("up")
    site.env = usual
    with gate.open("wb"):  # opens when the server waits for it, which goes on when it is closed
        pid = read_holder(site.data_dir)
        assert pid is not None
        yield up, pid
    end(up)


def end(up: subprocess.Popen[str]) -> None:
    """Kill the launcher if it still waits; its server goes on starting."""
    up.kill()
    up.communicate()


@pytest.fixture
def hung(site: Site) -> int:
    """The process of a server that was ready once."""
    pid = int(site.json("up")["pid"])
    os.kill(pid, signal.SIGSTOP)
    return pid


def test_a_server_that_starts_is_said_to_start(site: Site) -> None:
    with starting(site) as (_, pid):
        status = site.run("status")
        as_json = site.json("status")
        check = site.run("check")

    assert status.stdout.startswith(f"The server is still starting. Process {pid} uses ")
    assert "`reapi-local up`" in status.stdout
    assert (as_json["running"], as_json["condition"], as_json["pid"]) == (False, "starting", pid)
    assert check.returncode == 1
    assert "still starting" in check.stdout
    assert site.json("up")["pid"] == pid


def test_a_server_that_starts_is_found_and_can_be_killed(site: Site) -> None:
    with starting(site) as (up, pid):
        end(up)
        assert site.json("down", "--kill") == {"stopped": True}
        assert site.json("status")["condition"] == "absent"
    assert pid


def test_an_up_waits_for_the_server_that_another_one_started(site: Site) -> None:
    with starting(site) as (up, pid):
        end(up)
        second = site.start("up", "--format=json")
        assert second.stderr is not None
        assert second.stderr.readline() == (
            f"Waiting for the server to get ready (process {pid}).\n"
        )
    out, _ = second.communicate()
    assert json.loads(out)["pid"] == pid


def test_a_server_that_hangs_is_said_to_hang(site: Site, hung: int) -> None:
    status = site.json("status")
    check = site.run("check")

    assert (status["running"], status["condition"], status["pid"]) == (False, "hung", hung)
    assert check.returncode == 1
    assert f"Process {hung} uses" in " ".join(check.stdout.split())
    assert "`reapi-local down --kill`" in " ".join(check.stdout.split())
    assert site.json("down", "--kill") == {"stopped": True}


def test_no_server_is_said_to_be_absent(site: Site, tmp_path: Path) -> None:
    assert site.json("status")["condition"] == "absent"
    assert site.run("status", f"--data-dir={tmp_path / 'none'}").returncode == 0
    assert not (tmp_path / "none").exists()
