"""`.pants.rc` gets the switches that the user has not set, and later gets its old bytes back."""

from __future__ import annotations

import subprocess
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given

from pants_config.odd_toml import CASES, odd_files
from reapi_contract.admin_api import ExecutionStatus
from reapi_local_launcher.launcher_error import LauncherError
from reapi_local_plugin.pants_config.switches import switch_off, switch_on

READ, WRITE = "remote_cache_read = true", "remote_cache_write = true"
EXECUTE = "remote_execution = true"
CACHES = 'remote_execution_append_only_caches_base_path = "/reapi/caches"'
PARALLELISM = "process_execution_remote_parallelism = 2"
OFFER = ExecutionStatus(offered=True, sandbox="slots", slots=2, caches="/reapi/caches")


def options(file: Path) -> list[str]:
    return [line for line in file.read_text().splitlines() if line and line[0] != "#"]


def test_a_repository_that_sets_nothing_gets_both_switches(tmp_path: Path) -> None:
    (tmp_path / "pants.toml").write_text("[GLOBAL]\npants_version = '2.17.1'\n")
    change = switch_on(tmp_path, ["pants.toml"])
    assert options(tmp_path / ".pants.rc") == ["[GLOBAL]", READ, WRITE]
    assert list(change.written) == ["[GLOBAL]", READ, WRITE]
    assert (list(change.kept), list(change.notes)) == ([], [])


def test_to_run_processes_it_gets_what_belongs_to_that_too(tmp_path: Path) -> None:
    change = switch_on(tmp_path, [], OFFER)
    lines = ["[GLOBAL]", READ, WRITE, EXECUTE, CACHES, PARALLELISM]
    assert options(tmp_path / ".pants.rc") == lines
    assert list(change.written) == lines
    assert change.executes


def test_a_sandbox_without_caches_gets_no_path_for_them(tmp_path: Path) -> None:
    switch_on(tmp_path, [], replace(OFFER, sandbox="process-group", caches=""))
    assert options(tmp_path / ".pants.rc") == ["[GLOBAL]", READ, WRITE, EXECUTE, PARALLELISM]


def test_wired_as_a_cache_again_it_runs_nothing_and_says_what_went(tmp_path: Path) -> None:
    switch_on(tmp_path, [], OFFER)
    change = switch_on(tmp_path, [])
    assert options(tmp_path / ".pants.rc") == ["[GLOBAL]", READ, WRITE]
    assert list(change.removed) == [EXECUTE, CACHES, PARALLELISM]
    assert not change.executes


def test_what_the_user_set_for_execution_wins(tmp_path: Path) -> None:
    (tmp_path / "pants.toml").write_text("[GLOBAL]\nprocess_execution_remote_parallelism = 8\n")
    (tmp_path / ".pants.rc").write_text("[GLOBAL]\nremote_execution = false\n")
    change = switch_on(tmp_path, ["pants.toml"], OFFER)
    assert list(change.written) == [READ, WRITE, CACHES]
    assert list(change.kept) == [
        "process_execution_remote_parallelism = 8 in pants.toml",
        "remote_execution = false in .pants.rc",
    ]
    assert any("stays off" in note for note in change.notes)
    assert not change.executes


def test_a_number_of_the_users_is_no_switch_that_is_off(tmp_path: Path) -> None:
    (tmp_path / "pants.toml").write_text("[GLOBAL]\nprocess_execution_remote_parallelism = 8\n")
    change = switch_on(tmp_path, ["pants.toml"], OFFER)
    assert list(change.notes) == []
    assert change.executes


def test_a_switch_of_the_repository_is_kept_and_named_with_its_file(tmp_path: Path) -> None:
    (tmp_path / "pants.toml").write_text("[GLOBAL]\nremote_cache_write = false\n")
    change = switch_on(tmp_path, ["pants.toml"])
    assert options(tmp_path / ".pants.rc") == ["[GLOBAL]", READ]
    assert list(change.kept) == ["remote_cache_write = false in pants.toml"]
    assert any("stays off" in note for note in change.notes)


def test_switches_of_the_repository_stay_on_and_that_is_said(tmp_path: Path) -> None:
    (tmp_path / "pants.toml").write_text(f"[GLOBAL]\n{READ}\nremote_cache_write = false\n")
    change = switch_off(tmp_path, ["pants.toml"])
    assert list(change.kept) == [f"{READ} in pants.toml"]
    assert "starts it again" in change.notes[0]
    assert list(switch_off(tmp_path).notes) == []


def test_the_last_of_several_configuration_files_counts(tmp_path: Path) -> None:
    (tmp_path / "pants.toml").write_text("[GLOBAL]\nremote_cache_read = false\n")
    (tmp_path / "pants.ci.toml").write_text("GLOBAL.remote_cache_read = true\n")
    change = switch_on(tmp_path, ["pants.toml", "pants.ci.toml"])
    assert list(change.kept) == [f"{READ} in pants.ci.toml"]
    assert list(change.notes) == []


def test_configuration_files_that_are_gone_or_broken_are_passed_over(tmp_path: Path) -> None:
    (tmp_path / "broken.toml").write_text("[GLOBAL\n")
    switch_on(tmp_path, ["gone.toml", "broken.toml"])
    assert options(tmp_path / ".pants.rc") == ["[GLOBAL]", READ, WRITE]


def test_where_all_is_set_already_no_file_is_made(tmp_path: Path) -> None:
    (tmp_path / "pants.toml").write_text(f"[GLOBAL]\n{READ}\n{WRITE}\n")
    change = switch_on(tmp_path, ["pants.toml"])
    assert not (tmp_path / ".pants.rc").exists()
    assert list(change.written) == []


def test_a_file_that_git_would_commit_is_pointed_out(tmp_path: Path) -> None:
    subprocess.run(["git", "init", "--quiet"], cwd=tmp_path, check=True)
    assert any(".gitignore" in note for note in switch_on(tmp_path, []).notes)
    switch_off(tmp_path)
    (tmp_path / ".gitignore").write_text("/.pants.rc\n")
    assert list(switch_on(tmp_path, []).notes) == []


@pytest.mark.parametrize("case", CASES)
def test_odd_files_come_back_to_the_byte(tmp_path: Path, case: str) -> None:
    file = tmp_path / ".pants.rc"
    file.write_bytes(CASES[case].encode())
    switch_on(tmp_path, [])
    assert file.read_bytes() != CASES[case].encode()
    switch_off(tmp_path)
    assert file.read_bytes() == CASES[case].encode()


@given(text=odd_files())
def test_any_file_comes_back_to_the_byte(
    tmp_path_factory: pytest.TempPathFactory, text: str
) -> None:
    root = tmp_path_factory.mktemp("odd")
    (root / ".pants.rc").write_bytes(text.encode())
    try:
        switch_on(root, [])
    except LauncherError:
        pass
    else:
        switch_off(root)
    assert (root / ".pants.rc").read_bytes() == text.encode()


@pytest.mark.parametrize("text", ["[GLOBAL]\nx = 1\n[GLOBAL]\n", "GLOBAL.x = 1\n", "a = \n"])
def test_a_file_that_is_not_safe_to_edit_is_left_alone_and_the_lines_are_given(
    tmp_path: Path, text: str
) -> None:
    (tmp_path / ".pants.rc").write_text(text)
    with pytest.raises(LauncherError) as raised:
        switch_on(tmp_path, [])
    assert (tmp_path / ".pants.rc").read_text() == text
    assert str(tmp_path / ".pants.rc") in raised.value.why
    assert READ in raised.value.remedy
    assert WRITE in raised.value.remedy
