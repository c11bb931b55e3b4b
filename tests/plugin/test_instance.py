"""The instance's name: the same for all worktrees of a repository, another for all others."""

from __future__ import annotations

import hashlib
import os
import subprocess
from pathlib import Path

import pytest

from reapi_local_plugin.instance_name import instance_name

_GIT = ["git", "-c", "user.name=x", "-c", "user.email=x@example.com"]
_GIT += ["-c", "protocol.file.allow=always"]


def git(directory: Path, *arguments: str | Path) -> None:
    subprocess.run([*_GIT, *arguments], cwd=directory, check=True, capture_output=True)


def hashed(directory: Path) -> str:
    """The name that a directory gets by its own path."""
    digest = hashlib.sha256(os.fsencode(directory)).hexdigest()
    return f"{directory.name.lstrip('.')}-{digest[:8]}"


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    made = tmp_path / "shop"
    (made / "sub" / "project").mkdir(parents=True)
    (made / "sub" / "project" / "pants.toml").touch()
    git(made, "init", "--quiet")
    git(made, "add", ".")
    git(made, "commit", "--quiet", "--message=all")
    return made


def test_a_configured_name_is_taken_as_it_is(tmp_path: Path) -> None:
    assert instance_name("team/shop ", tmp_path) == "team/shop "
    assert instance_name("", tmp_path) == ""


def test_it_shows_the_directory_and_stays_the_same(repository: Path) -> None:
    name = instance_name(None, repository)
    assert name == instance_name(None, repository)
    assert name.startswith("shop-")


def test_namesakes_elsewhere_have_another_one(tmp_path: Path) -> None:
    names = set()
    for parent in ("a", "b"):
        (tmp_path / parent / "shop").mkdir(parents=True)
        names.add(instance_name(None, tmp_path / parent / "shop"))
    assert len(names) == 2


def test_all_worktrees_share_one(repository: Path, tmp_path: Path) -> None:
    git(repository, "worktree", "add", "--quiet", tmp_path / "elsewhere" / "other-name")
    worktree = tmp_path / "elsewhere" / "other-name"
    assert instance_name(None, worktree) == instance_name(None, repository)
    below = Path("sub", "project")
    assert instance_name(None, worktree / below) == instance_name(None, repository / below)
    assert instance_name(None, worktree / below) != instance_name(None, repository)


def test_a_worktree_by_relative_path_shares_it_too(repository: Path, tmp_path: Path) -> None:
    git(repository, "worktree", "add", "--quiet", tmp_path / "other")
    (tmp_path / "other" / ".git").write_text("gitdir: ../shop/.git/worktrees/other\n")
    assert instance_name(None, tmp_path / "other") == instance_name(None, repository)


def test_a_symlink_leads_to_the_same_one(repository: Path, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(repository)
    assert instance_name(None, tmp_path / "link") == instance_name(None, repository)


def test_a_submodule_is_a_repository_of_its_own(repository: Path, tmp_path: Path) -> None:
    outer = tmp_path / "outer"
    outer.mkdir()
    git(outer, "init", "--quiet")
    git(outer, "submodule", "--quiet", "add", str(repository), "inner")
    names = {instance_name(None, root) for root in (outer, outer / "inner", repository)}
    assert len(names) == 3


def test_worktrees_of_a_submodule_share_its_instance(repository: Path, tmp_path: Path) -> None:
    outer = tmp_path / "outer"
    outer.mkdir()
    git(outer, "init", "--quiet")
    for name in ("one", "two"):
        git(outer, "submodule", "--quiet", "add", "--name", f"of/{name}", str(repository), name)
        git(outer / name, "worktree", "add", "--quiet", tmp_path / f"wt-{name}")
    one, two = (instance_name(None, outer / name) for name in ("one", "two"))
    assert one != two
    assert (one, two) == tuple(instance_name(None, tmp_path / f"wt-{n}") for n in ("one", "two"))
    assert one == hashed(outer / "one"), "as for every directory"


@pytest.mark.parametrize("names", [("x.git", "y.git"), (".bare", ".other"), ("x", "y")])
def test_worktrees_of_a_bare_repository_share_one_and_no_other_has_it(
    repository: Path, tmp_path: Path, names: tuple[str, str]
) -> None:
    instances = []
    for name in names:
        git(tmp_path, "clone", "--quiet", "--bare", repository, name)
        for worktree in (tmp_path / f"a-{name}", tmp_path / name / "inside"):
            git(tmp_path / name, "worktree", "add", "--quiet", "-b", worktree.name, worktree)
            instances.append(instance_name(None, worktree))
            below = instance_name(None, worktree / "sub" / "project")
            assert below.startswith("project-")
            instances.append(below)
    assert instances[:2] == instances[2:4]
    assert instances[4:6] == instances[6:8]
    assert len(set(instances)) == 4


def test_worktrees_of_a_repository_that_is_kept_elsewhere_share_one(tmp_path: Path) -> None:
    instances = set()
    (tmp_path / "kept").mkdir()
    for name in ("one", "two"):
        main = tmp_path / name
        git(tmp_path, "init", "--quiet", f"--separate-git-dir={tmp_path}/kept/{name}", main)
        (main / "file").touch()
        git(main, "add", ".")
        git(main, "commit", "--quiet", "--message=all")
        git(main, "worktree", "add", "--quiet", tmp_path / f"wt-{name}")
        (tmp_path / f"link-{name}").symlink_to(tmp_path / f"wt-{name}")
        own = {
            instance_name(None, tmp_path / each) for each in (name, f"wt-{name}", f"link-{name}")
        }
        assert len(own) == 1
        instances |= own
    assert len(instances) == 2


def test_the_names_of_ordinary_repositories_stay_what_they_are(
    repository: Path, tmp_path: Path
) -> None:
    hidden = tmp_path / ".settings"
    git(tmp_path, "clone", "--quiet", repository, hidden)
    for root in (repository, repository / "sub" / "project", hidden, tmp_path / "nothing"):
        assert instance_name(None, root) == hashed(root)


@pytest.mark.parametrize(
    "content",
    [b"", b"gitdir: /no/such/place", b"\xff\xfe", b"gitdir: a\0b", b"gitdir: .", b"x" * 9],
)
def test_a_git_file_that_leads_nowhere_counts_as_none(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "lost").mkdir()
    alone = instance_name(None, tmp_path / "lost")
    (tmp_path / "lost" / ".git").write_bytes(content)
    assert instance_name(None, tmp_path / "lost") == alone


@pytest.mark.parametrize(
    "directory",
    ["ein Laden", "Bücher", "...", "--", "a/b", "x" * 200, "$(id)", os.fsdecode(b"caf\xe9")],
)
def test_odd_directories_give_names_that_are_safe_in_a_resource_name(
    tmp_path: Path, directory: str
) -> None:
    (tmp_path / directory).mkdir(parents=True)
    name = instance_name(None, tmp_path / directory)
    assert name.isascii()
    assert len(name) <= 50
    assert set(name) <= set("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-")
    assert name[0] not in "-."
