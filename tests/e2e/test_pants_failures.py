"""A build never fails for want of the server, and says once when it goes without."""

from __future__ import annotations

import os
import select
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from e2e.pants_repo import (
    PLUGIN,
    SHELL,
    SHELL_TESTS,
    SLOW_TEST,
    Machine,
    Repository,
    finish,
    machine,
    pants_toml,
)
from patience import PATIENCE_S
from reapi_local_plugin.instance_name import instance_name

pytestmark = pytest.mark.slow

# Tells that it runs, and goes on when told; what needs it runs afterwards.
WAITS = """
shell_command(
    name="waits",
    command="echo runs > {runs}; read word < {go_on}; echo > made",
    tools=[],
    output_files=["made"],
)
experimental_test_shell_command(
    name="after", command="[ -e made ]", tools=[], execution_dependencies=[":waits"]
)
"""


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    with machine(tmp_path_factory.mktemp("failures")) as made:
        yield made


@pytest.fixture(scope="module")
def wired(shop: Machine) -> Repository:
    """A repository whose results the server has stored."""
    made = shop.repository("repository", pants_toml(SHELL, PLUGIN))
    made.write({"BUILD": SHELL_TESTS, "slow/BUILD": SLOW_TEST})
    made.run("reapi-up").must_succeed()
    made.run("test", "::").must_succeed()
    return made


@pytest.fixture
def no_server(shop: Machine, wired: Repository) -> None:
    shop.kill_server()


@contextmanager
def opened(fifo: Path) -> Iterator[int]:
    """A new named pipe, open for both, so that neither side waits for the other to open it."""
    os.mkfifo(fifo)
    descriptor = os.open(fifo, os.O_RDWR)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def test_a_build_passes_when_the_server_is_killed_in_the_middle_of_it(
    shop: Machine, wired: Repository, tmp_path: Path
) -> None:
    wired.write({"waits/BUILD": WAITS.format(runs=tmp_path / "runs", go_on=tmp_path / "go_on")})
    with opened(tmp_path / "runs") as runs, opened(tmp_path / "go_on") as go_on:
        build = wired.start("test", ":", "waits:")
        assert select.select([runs], [], [], PATIENCE_S)[0], "the command never ran"
        shop.kill_server()
        os.write(go_on, b"go on\n")
        done = finish(build).must_succeed()
    (wired.root / "waits" / "BUILD").unlink()
    assert "✓ waits:after succeeded" in done.err
    assert shop.find_server() is None
    assert done.counters["remote_cache_write_errors"] >= 1


def test_a_build_starts_a_server_that_is_down_and_finds_what_was_stored(
    shop: Machine, wired: Repository, no_server: None, tmp_path: Path
) -> None:
    done = wired.run(f"--local-store-dir={tmp_path}", "test", "slow:").must_succeed()
    assert done.lookups == (1, 0)
    assert done.warnings == []
    run = shop.newest_run(instance_name(None, wired.root))
    assert (run["hits"], run["misses"]) == done.lookups


@pytest.mark.parametrize("daemon", [True, False])
def test_without_autostart_a_build_goes_without_the_server_and_warns_once(
    shop: Machine, wired: Repository, no_server: None, tmp_path: Path, daemon: bool
) -> None:
    flags = [f"--local-store-dir={tmp_path}", "--no-reapi-autostart"]
    done = wired.run(*flags, "test", ":", daemon=daemon).must_succeed()
    assert done.err.count("succeeded in") == 3
    assert "\n".join(done.warnings) == (
        "Building without the cache server. It isn't running, and [reapi].autostart is off. "
        "`pants reapi-up` starts it."
    )
    assert shop.find_server() is None


def test_a_build_goes_without_a_server_that_cannot_start_and_warns_once(
    shop: Machine, wired: Repository, no_server: None, tmp_path: Path
) -> None:
    (tmp_path / "file").touch()
    with socket.create_server(("127.0.0.1", 0)) as taken:
        obstacles = {
            "--reapi-server-python=/usr/bin/no-such-python": "/usr/bin/no-such-python",
            f"--reapi-data-dir={tmp_path}/file": f"{tmp_path}/file",
            f"--reapi-port={taken.getsockname()[1]}": "[reapi].port",
            "--reapi-max-size=much": "[reapi].max_size",
        }
        for number, (flag, named) in enumerate(obstacles.items()):
            store = f"--local-store-dir={tmp_path}/{number}"
            done = wired.run(flag, store, "test", ":").must_succeed()
            assert done.err.count("succeeded in") == 3
            assert len(done.warnings) == 1, done.err
            assert done.warnings[0].startswith("Building without the cache server. ")
            assert named in done.warnings[0]
    assert shop.find_server() is None
