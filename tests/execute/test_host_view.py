"""The plan of what actions see of the host."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from execute.sandbox_helpers import visible_directory
from reapi_local.execute.sandbox.host.hidden_paths import (
    SECRET_DIRECTORIES,
    SECRET_FILES,
    TOOLCHAIN_DIRECTORIES,
)
from reapi_local.execute.sandbox.host.host_view import (
    BIND,
    DIRECTORY,
    EMPTY,
    OWN_DIRECTORIES,
    SYMLINK,
    HostView,
    plan_host_view,
)
from reapi_local.execute.sandbox.host.identity import Identity

SAME_USER = Identity(os.getuid(), os.getgid(), 1000, 1000)
OTHER_USER = Identity(64321, 64321, 1000, 1000)


@pytest.fixture
def home() -> Iterator[Path]:
    with visible_directory(os.getuid()) as directory:
        yield directory


def plan(home: Path, identity: Identity = SAME_USER, hidden: tuple[str, ...] = ()) -> HostView:
    return plan_host_view(identity, [str(home)], hidden)


def is_shown(path: Path, view: HostView) -> bool:
    """Whether the nearest step at or above the path shows the host's file or directory."""
    kinds = {step.path: step.kind for step in view.steps}
    for above in (path, *path.parents):
        if kind := kinds.get(str(above)):
            return kind == BIND
    return False


def write(path: Path, mode: int = 0o644) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch(mode)
    return path


def test_top_level_directories_and_links_are_as_on_the_host(home: Path) -> None:
    view = plan(home)
    for path in Path("/").iterdir():
        expected = SYMLINK if path.is_symlink() else BIND if path.is_dir() else None
        steps = [step.kind for step in view.steps if step.path == str(path)]
        if str(path) in OWN_DIRECTORIES:
            assert steps == []
        elif expected and not str(home).startswith(f"{path}/"):
            assert steps == [expected], path


def test_a_step_comes_after_those_of_its_parents(home: Path) -> None:
    write(home / ".config" / "git" / "config")
    view = plan(home)
    seen: set[str] = set()
    for step in view.steps:
        assert not any(other.startswith(step.path + "/") for other in seen), step
        seen.add(step.path)


def test_a_home_shows_everything_but_secrets(home: Path) -> None:
    shown = [write(home / "tools" / "tool"), write(home / ".gitconfig")]
    private = write(home / "notes", 0o600)
    view = plan(home)
    assert all(is_shown(path, view) for path in shown)
    assert not is_shown(private, view)
    assert not is_shown(home / "made later", view)


def test_sockets_directly_in_a_home_are_not_shown(home: Path) -> None:
    os.mkfifo(home / "agent")
    assert not is_shown(home / "agent", plan(home))


def test_the_target_of_a_secret_symlink_is_hidden(home: Path) -> None:
    target = write(home / "dotfiles" / "netrc")
    (home / ".netrc").symlink_to(target)
    view = plan(home)
    assert not is_shown(target, view)
    assert str(home / ".netrc") not in {step.path for step in view.steps}


def test_only_toolchains_are_visible_to_another_user_although_closed(home: Path) -> None:
    tool = write(home / ".cache" / "tools" / "tool")
    mail = write(home / "Mail" / "letter")
    for directory in (home / ".cache", home / "Mail", home):
        directory.chmod(0o700)
    view = plan(home, OTHER_USER)
    assert (DIRECTORY, str(home / ".cache")) in {step[:2] for step in view.steps}
    assert is_shown(tool, view)
    assert not is_shown(mail, view)
    assert is_shown(mail, plan(home))


def test_a_closed_directory_above_a_home_shows_only_the_path_to_the_home(home: Path) -> None:
    inner = home / "closed" / "homes" / "user"
    tool, other = write(inner / "bin" / "tool"), write(home / "closed" / "other" / "file")
    (home / "closed").chmod(0o700)
    view = plan(inner, OTHER_USER)
    assert is_shown(tool, view)
    assert not is_shown(other, view)


def test_hidden_paths_are_covered_where_they_would_be_visible(home: Path) -> None:
    data = write(home / ".local" / "data" / "file").parent
    (home / "link").symlink_to(data)
    view = plan(home, hidden=(str(home / "link"), str(home / "absent"), "/tmp"))
    covers = {step.path for step in view.steps if step.kind == EMPTY}
    assert str(data) in covers
    assert not covers & {str(home / "absent"), str(home / "link"), "/tmp"}


def test_a_relevant_change_makes_the_plan_outdated(home: Path) -> None:
    write(home / ".config" / "git" / "config")
    view = plan(home)
    assert view.is_current()
    os.utime(home / ".config", ns=(1, 1))
    assert not view.is_current()
    assert plan(home).steps == view.steps
    write(home / "new")
    assert plan(home).steps != view.steps


def test_a_replaced_directory_changes_the_plan(home: Path) -> None:
    tool = write(home / "tools" / "tool")
    before = plan(home)
    (home / "tools").rename(home / "old")
    write(tool)
    (home / "old" / "tool").unlink()
    (home / "old").rmdir()
    assert plan(home).steps != before.steps


SECRETS = [
    *(f"{directory}/key" for directory in SECRET_DIRECTORIES),
    *(pattern.replace("*", "-x") for pattern in SECRET_FILES),
]
OTHERS = [
    *(f"{directory}/tool" for directory in TOOLCHAIN_DIRECTORIES),
    ".gitconfig",
    "src/file",
    ".config/x",
]


@settings(max_examples=40)
@given(
    secrets=st.sets(st.sampled_from(SECRETS)),
    others=st.sets(st.sampled_from(OTHERS)),
    closed=st.booleans(),
    other_user=st.booleans(),
)
def test_no_secret_is_ever_shown_and_no_toolchain_missing(
    secrets: set[str], others: set[str], closed: bool, other_user: bool
) -> None:
    with visible_directory(os.getuid()) as home:
        for path in secrets | others:
            write(home / path)
        if closed:
            for directory in TOOLCHAIN_DIRECTORIES:
                if (home / directory).is_dir():
                    (home / directory).chmod(0o700)
        view = plan(home, OTHER_USER if other_user else SAME_USER)
        assert [path for path in secrets if is_shown(home / path, view)] == []
        assert [path for path in others if not is_shown(home / path, view)] == []
