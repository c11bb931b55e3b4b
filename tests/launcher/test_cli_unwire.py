"""`reapi-local unwire`: the way out where every command of Pants fails."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from launcher.harness import Site
from reapi_local_plugin.pants_config.switches import switch_on

OWN = "# mine\n[GLOBAL]\nlevel = 'debug'\n"


@pytest.fixture
def repo(tmp_path: Path) -> Path:
    made = tmp_path / "repo"
    (made / "src" / "deep").mkdir(parents=True)
    (made / "pants.toml").write_text("[GLOBAL]\n")
    return made


@pytest.mark.parametrize("own", [None, "", OWN, OWN.replace("\n", "\r\n")], ids=repr)
def test_what_up_wrote_is_taken_out_and_the_users_lines_stay(
    site: Site, repo: Path, own: str | None
) -> None:
    rc = repo / ".pants.rc"
    if own is not None:
        rc.write_bytes(own.encode())
    switch_on(repo, ["pants.toml"])
    # As in a checkout of another branch: it has no plugin, and nothing else to help.
    (repo / "pants.toml").unlink()

    done = site.run("unwire", str(repo))
    again = site.run("unwire", str(repo)) if own is not None else None

    assert (done.returncode, done.stderr) == (0, "")
    assert f"Taken out of {rc}:\n" in done.stdout
    assert "  remote_cache_read = true\n" in done.stdout
    assert "reapi-local >>>" not in done.stdout
    assert (rc.read_bytes() if own is not None else rc.exists()) == (
        own.encode() if own is not None else False
    )
    if again is not None:
        assert again.stdout == f"{rc} has no lines of reapi-local; nothing was changed.\n"


def test_it_finds_the_root_from_a_directory_within(site: Site, repo: Path) -> None:
    switch_on(repo, [])

    answer = site.json("unwire", str(repo / "src" / "deep"))

    assert answer == {
        "path": str(repo / ".pants.rc"),
        "removed": ["[GLOBAL]", "remote_cache_read = true", "remote_cache_write = true"],
        "notes": [],
    }
    assert site.json("unwire", str(repo))["removed"] == []


def test_it_needs_no_server_and_no_cache_directory(site: Site, repo: Path) -> None:
    switch_on(repo, [])
    shutil.rmtree(site.package)
    shutil.rmtree(site.home)

    assert site.run("unwire", str(repo)).returncode == 0
    assert not (repo / ".pants.rc").exists()
    assert not site.home.exists()


def test_lines_of_the_user_among_ours_are_kept_and_named(site: Site, repo: Path) -> None:
    switch_on(repo, [])
    rc = repo / ".pants.rc"
    rc.write_text(rc.read_text().replace("[GLOBAL]\n", "[GLOBAL]\nlevel = 'debug'\n"))

    done = site.run("unwire", str(repo))

    assert "level = 'debug'" in done.stdout
    assert rc.read_text() == "[GLOBAL]\nlevel = 'debug'\n"


def test_outside_a_repository_it_says_so(site: Site, tmp_path: Path) -> None:
    done = site.run("unwire", str(tmp_path))

    assert done.returncode == 1
    assert f"error: {tmp_path} is not in a Pants repository.\n" in done.stderr


def test_the_block_says_what_to_do_when_every_command_fails(repo: Path) -> None:
    switch_on(repo, [])
    comments = [line for line in (repo / ".pants.rc").read_text().splitlines() if line[0] == "#"]

    assert "`reapi-local unwire`" in comments[1]
    assert "`pants --no-pantsrc COMMAND`" in comments[2]
    assert all(len(line) <= 100 for line in comments[1:3])
