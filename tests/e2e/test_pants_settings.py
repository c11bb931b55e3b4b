"""What the user sets is respected, and said: in [GLOBAL], in [reapi], in pants.toml or by flag."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from e2e.pants_repo import (
    PLUGIN,
    PLUGINS,
    SHELL,
    SLOW_TEST,
    SWITCHES,
    Machine,
    Repository,
    machine,
    pants_toml,
)
from reapi_local_plugin.instance_name import instance_name

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    with machine(tmp_path_factory.mktemp("settings")) as made:
        yield made


@pytest.fixture(scope="module")
def team(shop: Machine) -> Repository:
    """A repository whose pants.toml turns the switches on for everybody."""
    made = shop.repository("team", pants_toml(SHELL, PLUGIN, settings=SWITCHES))
    made.write({"BUILD": SLOW_TEST})
    return made


def test_a_switch_in_pants_toml_is_kept_and_reported(shop: Machine) -> None:
    settings = "remote_cache_read = false"
    repository = shop.repository("kept", pants_toml(SHELL, PLUGIN, settings=settings))
    repository.write({"BUILD": SLOW_TEST})
    up = repository.run("reapi-up").must_succeed()
    assert f"kept {settings} in " in " ".join(up.out.split())
    assert "this use of the server stays off" in " ".join(up.out.split())
    assert "remote_cache_read" not in (repository.root / ".pants.rc").read_text()
    build = repository.run("test", "::").must_succeed()
    assert build.counters["remote_cache_requests"] == 0
    assert build.counters["remote_cache_write_successes"] == 1
    check = repository.run("reapi-check").must_succeed()
    assert "but off in [GLOBAL]: remote_cache_read" in " ".join(check.out.split())


def test_with_the_switches_in_pants_toml_a_build_needs_nothing_else(
    shop: Machine, team: Repository
) -> None:
    shop.kill_server()
    build = team.run("test", "::").must_succeed()
    assert build.warnings == []
    assert build.lookups == (0, 1)
    assert build.counters["remote_cache_write_successes"] == 1
    assert shop.lookups(instance_name(None, team.root)) == (0, 1)
    assert "All 9 proofs hold." in team.run("reapi-check").must_succeed().out
    up = team.run("reapi-up").must_succeed()
    assert "kept remote_cache_read = true in " in " ".join(up.out.split())
    assert "note:" not in up.out
    assert not (team.root / ".pants.rc").exists()


def test_mode_off_builds_as_if_there_were_no_server(
    shop: Machine, team: Repository, tmp_path: Path
) -> None:
    shop.kill_server()
    flags = ["--reapi-mode=off", f"--local-store-dir={tmp_path}"]
    build = team.run(*flags, "test", "::").must_succeed()
    assert build.warnings == []
    assert build.counters["remote_cache_requests"] == 0
    assert shop.find_server() is None
    team.run("reapi-up").must_succeed()
    check = team.run("--reapi-mode=off", "reapi-check")
    assert check.status == 1
    assert "[reapi].mode is off" in check.out


def test_an_instance_name_in_global_is_used_and_shown(
    shop: Machine, team: Repository, tmp_path: Path
) -> None:
    flags = ["--remote-instance-name=chosen", f"--local-store-dir={tmp_path}"]
    assert "instance  chosen\n" in team.run(*flags, "reapi-up").must_succeed().out
    build = team.run(*flags, "test", "::").must_succeed()
    assert build.warnings == []
    assert build.lookups == (0, 1)
    run = shop.newest_run("chosen")
    assert (run["hits"], run["misses"]) == (0, 1)
    check = team.run(*flags, "reapi-check").must_succeed()
    assert "the last run used it: 0 hits, 1 misses" in check.out


def test_an_address_in_global_wins_and_is_reported(
    shop: Machine, team: Repository, tmp_path: Path
) -> None:
    address = "grpc://127.0.0.1:1"
    flags = [f"--remote-store-address={address}", f"--local-store-dir={tmp_path}"]
    up = team.run(*flags, "reapi-up").must_succeed()
    assert f"[GLOBAL].remote_store_address is {address}" in " ".join(up.out.split())
    assert up.warnings == []
    check = team.run(*flags, "reapi-check")
    assert check.status == 1
    assert "FAILED  configured" in check.out
    before = shop.lookups(instance_name(None, team.root))
    build = team.run(*flags, "test", "::").must_succeed()
    assert build.lookups == (0, 0)
    assert shop.lookups(instance_name(None, team.root)) == before


def test_a_server_given_by_address_and_token_is_used_and_left_alone(
    shop: Machine, team: Repository, tmp_path: Path
) -> None:
    """The server of somebody else, as far as this user's Pants can tell."""
    launcher = [sys.executable, "-m", "reapi_local_launcher"]
    env = {**shop.env, "PYTHONPATH": os.pathsep.join(PLUGINS)}
    theirs = ["--format=json", f"--data-dir={tmp_path}/theirs"]
    up = [*launcher, "up", f"--server-python={sys.executable}", "--show-token", *theirs]
    server = json.loads(subprocess.run(up, env=env, check=True, capture_output=True).stdout)
    try:
        (tmp_path / "token").write_text(server["token"] + "\n")
        flags = [
            f"--reapi-address={server['grpc_address']}",
            f"--reapi-token-path={tmp_path}/token",
            f"--local-store-dir={tmp_path}/store",
        ]
        wired = team.run(*flags, "reapi-up").must_succeed()
        assert "a server run by somebody else" in wired.out.splitlines()[0]
        build = team.run(*flags, "test", "::").must_succeed()
        assert build.warnings == []
        assert build.counters["remote_cache_write_successes"] == 1
        assert "All 7 proofs hold." in team.run(*flags, "reapi-check").must_succeed().out
        team.run(*flags, "reapi-down").must_succeed()
        stopped = subprocess.run(
            [*launcher, "down", *theirs], env=env, check=True, capture_output=True
        )
        assert json.loads(stopped.stdout) == {"stopped": True}
        gone = team.run(*flags, "reapi-check")
        assert gone.status == 1
        assert "FAILED  reachable" in gone.out
    finally:
        subprocess.run([*launcher, "down", "--kill", *theirs], env=env, check=True)


def test_a_token_file_that_is_missing_costs_the_cache_but_not_the_build(
    team: Repository, tmp_path: Path
) -> None:
    flags = ["--reapi-address=grpc://127.0.0.1:1", f"--reapi-token-path={tmp_path}/token"]
    build = team.run(*flags, f"--local-store-dir={tmp_path}/store", "test", "::").must_succeed()
    assert len(build.warnings) == 1
    assert build.warnings[0].startswith("Building without the cache server. ")
    assert f"{tmp_path}/token" in build.warnings[0]
    check = team.run(*flags, "reapi-check")
    assert (check.status, check.warnings) == (1, [])
    assert "FAILED  token" in check.out
    assert "Correct [reapi].token_path." in check.out
