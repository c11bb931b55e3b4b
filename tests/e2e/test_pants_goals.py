"""The goals `reapi-up`, `reapi-check` and `reapi-down`: what they do, write and print."""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from e2e.pants_repo import (
    PLUGIN,
    SHELL,
    SHELL_TESTS,
    Done,
    Machine,
    Repository,
    machine,
    pants_toml,
)
from reapi_local_plugin.instance_name import instance_name
from reapi_local_plugin.pants_config.switches import switch_on

pytestmark = pytest.mark.slow

PROOFS = ["reachable", "capabilities", "blob", "action-result", "instance", "token", "execution"]
# Odd, but read by Pants, with settings that Pants knows.
ODD_FILES = {
    "windows line ends, no [GLOBAL], no final line break": b"# Gr\xc3\xbc\xc3\x9fe\r\n[test]\r\n"
    b"timeouts = true # mine",
    "a quoted header and a switch of one's own": b"['GLOBAL'] # all\n\n\n  remote_cache_read = true"
    b"\n[test]\ntimeouts = false\n\n",
    "text that looks like a header": b'[cli.alias]\nxx = """\\\n  [GLOBAL]\\\n"""\n[GLOBAL]',
}


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    with machine(tmp_path_factory.mktemp("goals")) as made:
        yield made


@pytest.fixture(scope="module")
def repository(shop: Machine) -> Repository:
    made = shop.repository("repository", pants_toml(SHELL, PLUGIN))
    made.write({"BUILD": SHELL_TESTS})
    return made


@pytest.fixture
def running(repository: Repository) -> Done:
    return repository.run("reapi-up").must_succeed()


def is_for_people(out: str) -> bool:
    """At most 80 columns, paths excepted, and no escape codes."""
    return "\x1b" not in out and all(len(line) <= 80 or "/" in line for line in out.splitlines())


def output(done: Done) -> Any:
    return json.loads(done.out)


def test_up_starts_the_server_wires_pants_and_says_so(
    shop: Machine, repository: Repository
) -> None:
    up = repository.run("reapi-up").must_succeed()
    server = shop.server
    lines = up.out.splitlines()
    assert lines[0].startswith("reapi-local ")
    assert lines[0].endswith(f" was started, process {server.pid}")
    assert f"  address   {server.grpc_address}" in lines
    assert f"  instance  {instance_name(None, repository.root)}" in lines
    assert f"  data      {shop.data_dir}" in lines
    assert "  wrote     remote_cache_read = true in .pants.rc" in lines
    assert "  wrote     remote_cache_write = true in .pants.rc" in lines
    assert any(line.startswith("  check     all 7 proofs hold") for line in lines)
    assert is_for_people(up.out)
    settings = (repository.root / ".pants.rc").read_text().splitlines()
    assert [line for line in settings if line and line[0] != "#"] == [
        "[GLOBAL]",
        "remote_cache_read = true",
        "remote_cache_write = true",
    ]


def test_up_once_more_finds_the_server_and_changes_nothing(
    shop: Machine, repository: Repository, running: Done
) -> None:
    pid, before = shop.server.pid, (repository.root / ".pants.rc").read_bytes()
    again = repository.run("reapi-up", "--format=json").must_succeed()
    assert output(again)["ok"] is True
    assert output(again)["server"]["outcome"] == "found"
    assert output(again)["server"]["pid"] == pid
    assert [proof["name"] for proof in output(again)["proofs"]] == PROOFS
    assert (repository.root / ".pants.rc").read_bytes() == before


def test_up_never_shows_the_token(shop: Machine, repository: Repository, running: Done) -> None:
    as_json = repository.run("reapi-up", "--format=json").must_succeed()
    for done in (running, as_json):
        assert shop.server.token not in done.out + done.err


def test_check_proves_what_the_last_run_got(repository: Repository, running: Done) -> None:
    build = repository.run("test", "::").must_succeed()
    hits, misses = build.lookups
    check = repository.run("reapi-check").must_succeed()
    assert f"the last run used it: {hits} hits, {misses} misses" in check.out
    assert check.out.splitlines()[-1] == "All 9 proofs hold."
    assert is_for_people(check.out)
    as_json = output(repository.run("reapi-check", "--format=json").must_succeed())
    assert as_json["ok"] is True
    proofs = [proof["name"] for proof in as_json["proofs"]]
    assert proofs == [*PROOFS, "configured", "last-run"]
    assert all(proof["ok"] for proof in as_json["proofs"])


def test_check_fails_and_says_what_to_do_when_the_server_is_down(
    shop: Machine, repository: Repository, running: Done
) -> None:
    shop.kill_server()
    check = repository.run("reapi-check")
    assert check.status == 1
    assert check.warnings == []
    assert "FAILED  reachable" in check.out
    assert "Start one with `pants reapi-up`." in check.out
    assert is_for_people(check.out)
    as_json = repository.run("reapi-check", "--format=json")
    assert as_json.status == 1
    assert output(as_json)["ok"] is False
    assert output(as_json)["proofs"][0]["remedy"] == "Start one with `pants reapi-up`."


def test_down_stops_the_server_and_says_so(
    shop: Machine, repository: Repository, running: Done
) -> None:
    down = repository.run("reapi-down").must_succeed()
    assert down.out.startswith("The server was stopped.\n")
    assert "removed  remote_cache_write = true from .pants.rc\n" in down.out
    assert is_for_people(down.out)
    assert shop.find_server() is None
    assert not (repository.root / ".pants.rc").exists()
    again = repository.run("reapi-down", "--format=json").must_succeed()
    assert output(again)["stopped"] is False
    assert output(again)["pants_config"]["removed"] == []


@pytest.mark.parametrize("odd", ODD_FILES)
def test_down_restores_an_odd_file_to_the_byte(repository: Repository, odd: str) -> None:
    file = repository.root / ".pants.rc"
    file.write_bytes(ODD_FILES[odd])
    repository.run("reapi-up").must_succeed()
    assert file.read_bytes() != ODD_FILES[odd]
    # Pants reads what was written, and uses the server.
    assert "All 9 proofs hold." in repository.run("reapi-check").must_succeed().out
    repository.run("reapi-down").must_succeed()
    assert file.read_bytes() == ODD_FILES[odd]
    file.unlink()


def state_of(data_dir: Path, admin_port: int) -> str:
    """A state file that names this very process and a port of somebody else."""
    state = {
        "format": 1,
        "pid": os.getpid(),
        "boot_id": "0" * 32,
        "started_at": 1.0,
        "version": "0.1.0",
        "host": "127.0.0.1",
        "grpc_port": admin_port,
        "admin_port": admin_port,
        "token": "t" * 43,
        "data_dir": str(data_dir),
        "max_size_bytes": 1 << 30,
    }
    return json.dumps(state)


@pytest.mark.parametrize("state", ["stopped", "garbage", "foreign"])
def test_commands_that_build_nothing_neither_start_a_server_nor_warn_nor_fail(
    shop: Machine, repository: Repository, state: str
) -> None:
    repository.run("reapi-down").must_succeed()
    switch_on(repository.root, [])
    with socket.create_server(("127.0.0.1", 0)) as foreign:
        texts = {
            "garbage": '{"pid": [\x00',
            "foreign": state_of(shop.data_dir, foreign.getsockname()[1]),
        }
        if state in texts:
            (shop.data_dir / "server.json").write_text(texts[state])
        statuses = {"help": 0, "--version": 0, "reapi-check": 1, "reapi-down": 0}
        for command, status in statuses.items():
            done = repository.run(command)
            assert (command, done.status, done.warnings) == (command, status, [])
            assert "Traceback" not in done.out + done.err
            assert shop.find_server() is None
    assert not (repository.root / ".pants.rc").exists()


def test_names_that_are_not_ascii_are_shown_and_those_that_are_no_text_escaped(
    tmp_path: Path,
) -> None:
    with machine(tmp_path / "żółć") as made:
        made.env |= {"LC_ALL": "C", "PYTHONIOENCODING": "ascii"}
        shown = made.repository("repository", pants_toml(PLUGIN)).run("reapi-up", daemon=False)
        assert f"  {made.data_dir}\n" in shown.must_succeed().out
        made.env["XDG_CACHE_HOME"] = str(tmp_path / os.fsdecode(b"\xff"))
        refused = made.repository("other", pants_toml(PLUGIN)).run("reapi-up", daemon=False)
    # The store can't be there. Where this could not be said, Pants ran the goal without end.
    assert refused.status == 1
    assert "error: The server could not start.\n" in refused.out
    assert f"{tmp_path}/\\udcff/reapi-local/data" in "".join(refused.out.split())
