"""The plan of what actions see of the host."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from execute.sandbox_helpers import visible_directory
from reapi_local.execute.sandbox.host.host_view import (
    BIND,
    DIRECTORY,
    EMPTY,
    OWN_DIRECTORIES,
    PARENT,
    SYMLINK,
    HostView,
    Visible,
    plan_host_view,
)
from reapi_local.execute.sandbox.host.identity import Identity
from reapi_local.execute.sandbox.host.symlinks import symlinks_on
from reapi_local.execute.sandbox.host.zones import Zones

SAME_USER = Identity(os.getuid(), os.getgid(), 1000, 1000)
OTHER_USER = Identity(64321, 64321, 1000, 1000)


@pytest.fixture
def home() -> Iterator[Path]:
    with visible_directory(os.getuid()) as directory:
        yield directory


def plan(
    home: Path,
    *shown: Path,
    identity: Identity = SAME_USER,
    hidden: tuple[str, ...] = (),
    private: tuple[str, ...] = (),
) -> HostView:
    visible = Visible([*map(str, shown)], private, [str(home)], hidden)
    return plan_host_view(identity, Zones([str(home)]), visible)


def write(path: Path, mode: int = 0o644) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch(mode)
    return path


def kinds(view: HostView) -> dict[str, str]:
    return {step.path: step.kind for step in view.steps}


def test_top_level_directories_and_links_are_as_on_the_host(home: Path) -> None:
    zones = Zones([str(home)])
    view = plan(home)
    for path in Path("/").iterdir():
        expected = SYMLINK if path.is_symlink() else BIND if path.is_dir() else None
        steps = [step.kind for step in view.steps if step.path == str(path)]
        if str(path) in OWN_DIRECTORIES:
            assert steps == []
        elif str(path) in zones.outermost:
            assert steps == [DIRECTORY], path
        elif expected:
            assert steps == [expected], path


def test_a_step_comes_after_those_of_its_parents(home: Path) -> None:
    tools = [write(home / name / "tool").parent for name in ("a", "a/b/c", "d/e/f", "d-e/f", "d/e")]
    seen: set[str] = set()
    for step in plan(home, *tools, *reversed(tools)).steps:
        assert not any(other.startswith(step.path + "/") for other in seen), step
        assert step.path not in seen
        seen.add(step.path)


def test_a_home_is_empty_but_for_what_is_named(home: Path) -> None:
    tool = write(home / "tools" / "bin" / "tool")
    others = [write(home / "tools" / "other"), write(home / ".gitconfig"), write(home / "x" / "y")]
    view = plan(home, tool.parent)
    assert view.shows(str(tool))
    assert kinds(view)[str(home / "tools")] == PARENT
    assert not any(view.shows(str(path)) for path in (*others, home))


def test_symlinks_that_lead_to_what_is_named_are_shown_as_symlinks(home: Path) -> None:
    tool = write(home / "real" / "tools" / "tool")
    (home / "one").symlink_to("two/tools")
    (home / "two").symlink_to(home / "real")
    view = plan(home, home / "one")
    assert view.shows(str(tool))
    assert {path: kinds(view).get(str(home / path)) for path in ("one", "two", "real")} == {
        "one": SYMLINK,
        "two": SYMLINK,
        "real": PARENT,
    }
    assert [*symlinks_on(f"{home}/./one/../tools")] == [f"{home}/one", f"{home}/two"]


def test_a_symlink_in_a_circle_leads_nowhere(home: Path) -> None:
    (home / "one").symlink_to("two")
    (home / "two").symlink_to("one")
    assert len([*symlinks_on(str(home / "one"))]) == 40
    assert not plan(home, home / "one").shows(str(home / "two"))


def test_of_a_closed_directory_another_user_sees_what_others_may_read(home: Path) -> None:
    tool, other = write(home / "tools" / "bin" / "tool"), write(home / "tools" / "closed" / "file")
    file, private = write(home / "tools" / "file"), write(home / "tools" / "private", 0o600)
    os.mkfifo(home / "tools" / "agent")
    for directory in (other.parent, home / "tools", home):
        directory.chmod(0o700)
    view = plan(home, home / "tools", identity=OTHER_USER)
    assert view.shows(str(tool))
    assert view.shows(str(file))
    assert not any(view.shows(str(path)) for path in (other, private, home / "tools" / "agent"))
    assert plan(home, home / "tools").shows(str(other))


def test_hidden_paths_are_covered_where_they_would_be_visible(home: Path) -> None:
    data = write(home / "tools" / "data" / "file").parent
    (home / "link").symlink_to(data)
    absent = str(home / "tools" / "absent")
    view = plan(home, home / "tools", hidden=(str(home / "link"), absent, "/tmp", str(home / "x")))
    covers = {step.path for step in view.steps if step.kind == EMPTY}
    assert str(data) in covers
    assert not covers & {absent, str(home / "link"), "/tmp", str(home / "x")}


def test_a_relevant_change_makes_the_plan_outdated(home: Path) -> None:
    tools, secret = write(home / "tools" / "tool").parent, write(home / "tools" / "deep" / "secret")
    view = plan(home, tools, private=(str(secret),))
    assert view.is_current()
    write(tools / "another")
    assert view.is_current()
    write(home / "new")
    assert not view.is_current()
    view = plan(home, tools, private=(str(secret),))
    write(secret.with_name("other")).rename(secret)
    assert not view.is_current()


def test_a_replaced_directory_changes_the_plan(home: Path) -> None:
    tools = write(home / "deep" / "tools" / "tool").parent
    before = plan(home, tools)
    tools.rename(home / "deep" / "old")
    write(tools / "tool")
    assert not before.is_current()
    assert plan(home, tools).steps != before.steps


NAMES = st.sampled_from(["a", "b", "c"])
PATHS = st.lists(NAMES, min_size=1, max_size=4).map("/".join)


@settings(max_examples=40)
@given(files=st.sets(PATHS), named=st.sets(PATHS, max_size=3), other_user=st.booleans())
def test_only_what_is_named_is_shown(files: set[str], named: set[str], other_user: bool) -> None:
    with visible_directory(os.getuid()) as home:
        for path in files:
            write(home / path / "file")
        identity = OTHER_USER if other_user else SAME_USER
        view = plan(home, *(home / name for name in named), identity=identity)
        for path in files:
            is_named = any(f"{path}/".startswith(f"{name}/") for name in named)
            assert view.shows(str(home / path / "file")) == is_named
