"""`.pants.rc` gets the switches nobody has set, and is given back to the byte."""

from __future__ import annotations

import subprocess
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings

from pants_config.odd_toml import CASES, odd_files
from reapi_local_launcher.errors import LauncherError
from reapi_local_launcher.server.execution import Execution
from reapi_local_plugin.pants_config.switches import unwire, wire

READ, WRITE = "remote_cache_read = true", "remote_cache_write = true"
EXECUTE = "remote_execution = true"
CACHES = 'remote_execution_append_only_caches_base_path = "/reapi/caches"'
PARALLELISM = "process_execution_remote_parallelism = 2"
OFFER = Execution(offered=True, sandbox="slots", slots=2, caches="/reapi/caches")


def options(file: Path) -> list[str]:
    return [line for line in file.read_text().splitlines() if line and line[0] != "#"]


def test_a_repository_that_sets_nothing_gets_both_switches(tmp_path: Path) -> None:
    (tmp_path / "pants.toml").write_text("[GLOBAL]\npants_version = '2.17.1'\n")
    wiring = wire(tmp_path, ["pants.toml"])
    assert options(tmp_path / ".pants.rc") == ["[GLOBAL]", READ, WRITE]
    assert list(wiring.written) == ["[GLOBAL]", READ, WRITE]
    assert (list(wiring.kept), list(wiring.notes)) == ([], [])


def test_to_run_processes_it_gets_what_belongs_to_that_too(tmp_path: Path) -> None:
    wiring = wire(tmp_path, [], OFFER)
    lines = ["[GLOBAL]", READ, WRITE, EXECUTE, CACHES, PARALLELISM]
    assert options(tmp_path / ".pants.rc") == lines
    assert list(wiring.written) == lines
    assert wiring.executes


def test_a_sandbox_without_caches_gets_no_path_for_them(tmp_path: Path) -> None:
    wire(tmp_path, [], replace(OFFER, sandbox="process-group", caches=""))
    assert options(tmp_path / ".pants.rc") == ["[GLOBAL]", READ, WRITE, EXECUTE, PARALLELISM]


def test_wired_as_a_cache_again_it_runs_nothing_and_says_what_went(tmp_path: Path) -> None:
    wire(tmp_path, [], OFFER)
    wiring = wire(tmp_path, [])
    assert options(tmp_path / ".pants.rc") == ["[GLOBAL]", READ, WRITE]
    assert list(wiring.removed) == [EXECUTE, CACHES, PARALLELISM]
    assert not wiring.executes


def test_what_the_user_set_for_execution_wins(tmp_path: Path) -> None:
    (tmp_path / "pants.toml").write_text("[GLOBAL]\nprocess_execution_remote_parallelism = 8\n")
    (tmp_path / ".pants.rc").write_text("[GLOBAL]\nremote_execution = false\n")
    wiring = wire(tmp_path, ["pants.toml"], OFFER)
    assert list(wiring.written) == [READ, WRITE, CACHES]
    assert list(wiring.kept) == [
        "process_execution_remote_parallelism = 8 in pants.toml",
        "remote_execution = false in .pants.rc",
    ]
    assert any("stays off" in note for note in wiring.notes)
    assert not wiring.executes


def test_a_number_of_the_users_is_no_switch_that_is_off(tmp_path: Path) -> None:
    (tmp_path / "pants.toml").write_text("[GLOBAL]\nprocess_execution_remote_parallelism = 8\n")
    wiring = wire(tmp_path, ["pants.toml"], OFFER)
    assert list(wiring.notes) == []
    assert wiring.executes


def test_a_switch_of_the_repository_is_kept_and_named_with_its_file(tmp_path: Path) -> None:
    (tmp_path / "pants.toml").write_text("[GLOBAL]\nremote_cache_write = false\n")
    wiring = wire(tmp_path, ["pants.toml"])
    assert options(tmp_path / ".pants.rc") == ["[GLOBAL]", READ]
    assert list(wiring.kept) == ["remote_cache_write = false in pants.toml"]
    assert any("stays off" in note for note in wiring.notes)


def test_switches_of_the_repository_stay_on_and_that_is_said(tmp_path: Path) -> None:
    (tmp_path / "pants.toml").write_text(f"[GLOBAL]\n{READ}\nremote_cache_write = false\n")
    wiring = unwire(tmp_path, ["pants.toml"])
    assert list(wiring.kept) == [f"{READ} in pants.toml"]
    assert "starts it again" in wiring.notes[0]
    assert list(unwire(tmp_path).notes) == []


def test_the_last_of_several_configuration_files_counts(tmp_path: Path) -> None:
    (tmp_path / "pants.toml").write_text("[GLOBAL]\nremote_cache_read = false\n")
    (tmp_path / "pants.ci.toml").write_text("GLOBAL.remote_cache_read = true\n")
    wiring = wire(tmp_path, ["pants.toml", "pants.ci.toml"])
    assert list(wiring.kept) == [f"{READ} in pants.ci.toml"]
    assert list(wiring.notes) == []


def test_configuration_files_that_are_gone_or_broken_are_passed_over(tmp_path: Path) -> None:
    (tmp_path / "broken.toml").write_text("[GLOBAL\n")
    wire(tmp_path, ["gone.toml", "broken.toml"])
    assert options(tmp_path / ".pants.rc") == ["[GLOBAL]", READ, WRITE]


def test_where_all_is_set_already_no_file_is_made(tmp_path: Path) -> None:
    (tmp_path / "pants.toml").write_text(f"[GLOBAL]\n{READ}\n{WRITE}\n")
    wiring = wire(tmp_path, ["pants.toml"])
    assert not (tmp_path / ".pants.rc").exists()
    assert list(wiring.written) == []


def test_a_file_that_git_would_commit_is_pointed_out(tmp_path: Path) -> None:
    subprocess.run(["git", "init", "--quiet"], cwd=tmp_path, check=True)
    assert any(".gitignore" in note for note in wire(tmp_path, []).notes)
    unwire(tmp_path)
    (tmp_path / ".gitignore").write_text("/.pants.rc\n")
    assert list(wire(tmp_path, []).notes) == []


@pytest.mark.parametrize("case", CASES)
def test_odd_files_come_back_to_the_byte(tmp_path: Path, case: str) -> None:
    file = tmp_path / ".pants.rc"
    file.write_bytes(CASES[case].encode())
    wire(tmp_path, [])
    assert file.read_bytes() != CASES[case].encode()
    unwire(tmp_path)
    assert file.read_bytes() == CASES[case].encode()


@settings(deadline=None)
@given(text=odd_files())
def test_any_file_comes_back_to_the_byte(
    tmp_path_factory: pytest.TempPathFactory, text: str
) -> None:
    root = tmp_path_factory.mktemp("odd")
    (root / ".pants.rc").write_bytes(text.encode())
    try:
        wire(root, [])
    except LauncherError:
        pass
    else:
        unwire(root)
    assert (root / ".pants.rc").read_bytes() == text.encode()


@pytest.mark.parametrize("text", ["[GLOBAL]\nx = 1\n[GLOBAL]\n", "GLOBAL.x = 1\n", "a = \n"])
def test_a_file_that_is_not_safe_to_edit_is_left_alone_and_the_lines_are_given(
    tmp_path: Path, text: str
) -> None:
    (tmp_path / ".pants.rc").write_text(text)
    with pytest.raises(LauncherError) as raised:
        wire(tmp_path, [])
    assert (tmp_path / ".pants.rc").read_text() == text
    assert str(tmp_path / ".pants.rc") in raised.value.why
    assert READ in raised.value.remedy
    assert WRITE in raised.value.remedy
