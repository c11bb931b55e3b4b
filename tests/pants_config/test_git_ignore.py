"""Git is asked whether it ignores a file; without git or a work tree the answer is unknown."""

import subprocess
from pathlib import Path

import pytest

from reapi_local_plugin.pants_config.git_ignore import is_ignored


@pytest.fixture
def work_tree(tmp_path: Path) -> Path:
    subprocess.run(["git", "init", "--quiet", str(tmp_path)], check=True)
    (tmp_path / ".gitignore").write_text(".pants.rc\n")
    return tmp_path


def test_a_file_in_gitignore_is_ignored(work_tree: Path) -> None:
    assert is_ignored(work_tree, ".pants.rc") is True
    assert is_ignored(work_tree, "pants.toml") is False


def test_a_tracked_file_is_not_ignored(work_tree: Path) -> None:
    (work_tree / ".pants.rc").touch()
    subprocess.run(["git", "add", "--force", ".pants.rc"], cwd=work_tree, check=True)

    assert is_ignored(work_tree, ".pants.rc") is False


def test_outside_a_work_tree_it_is_unknown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))

    assert is_ignored(tmp_path, ".pants.rc") is None


def test_without_git_it_is_unknown(work_tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(work_tree))

    assert is_ignored(work_tree, ".pants.rc") is None
