"""Resolving paths below a directory through symlinks that may lead anywhere."""

from __future__ import annotations

import os
import socket
import stat
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from execute.collected import opened
from reapi_local.execute.local.open_beneath import (
    MAX_DEPTH,
    PathEscapes,
    open_directory,
    open_file,
    open_parent,
    resolves_below,
)

NAMES = ("a", "b", "c")
# None of these is the name of the root itself, so a path that leaves it can't come back.
segments = st.lists(st.sampled_from((*NAMES, "..", ".", "secret")), min_size=1, max_size=4)
paths = st.lists(st.sampled_from((*NAMES, "secret")), min_size=1, max_size=4).map("/".join)
nodes = st.recursive(
    st.just("file") | segments.map("/".join).map(lambda target: ("link", target)),
    lambda children: st.dictionaries(st.sampled_from(NAMES), children, max_size=3),
    max_leaves=10,
)
trees = st.dictionaries(st.sampled_from(NAMES), nodes, max_size=3)


def fill(directory: Path, tree: object) -> None:
    assert isinstance(tree, dict)
    for name, node in tree.items():
        path = directory / name
        if node == "file":
            path.write_text("file")
        elif isinstance(node, tuple):
            path.symlink_to(node[1])
        else:
            path.mkdir()
            fill(path, node)


def found(root: Path, path: str, *, follow: bool = True) -> os.stat_result:
    with opened(root) as fd, open_parent(fd, path, follow=follow) as (parent, name):
        return os.stat(name, dir_fd=parent, follow_symlinks=False)


def open_files() -> int:
    if not os.path.isdir("/proc/self/fd"):
        pytest.skip("open files are counted in /proc/self/fd, which this machine lacks")
    return len(os.listdir("/proc/self/fd"))


@settings(max_examples=300)
@given(trees, paths)
def test_a_path_resolves_as_in_the_kernel_but_never_to_the_outside(tree: object, path: str) -> None:
    with tempfile.TemporaryDirectory() as outside:
        Path(outside, "secret").write_text("secret")
        root = Path(outside, "root")
        root.mkdir()
        fill(root, tree)
        try:
            expected: os.stat_result | None = os.stat(root / path)
        except OSError:
            expected = None
        real = os.path.realpath(root / path)
        is_below = os.path.commonpath([real, os.path.realpath(root)]) == os.path.realpath(root)
        with opened(root) as fd:
            assert resolves_below(fd, path) == (expected is not None and is_below)
        if expected is not None and is_below:
            status = found(root, path)
            assert (status.st_dev, status.st_ino) == (expected.st_dev, expected.st_ino)
        else:
            with pytest.raises((PathEscapes, FileNotFoundError, NotADirectoryError)):
                found(root, path)


def test_the_last_segment_is_followed_only_if_requested(tmp_path: Path) -> None:
    fill(tmp_path, {"a": {"b": "file"}, "b": ("link", "a/b"), "c": ("link", "/")})
    assert stat.S_ISREG(found(tmp_path, "b").st_mode)
    assert stat.S_ISLNK(found(tmp_path, "b", follow=False).st_mode)
    assert stat.S_ISLNK(found(tmp_path, "c", follow=False).st_mode)
    with pytest.raises(PathEscapes, match="'c' leads out of the input root, to '/'"):
        found(tmp_path, "c")


def test_dot_dot_goes_to_the_directory_that_the_symlink_is_in(tmp_path: Path) -> None:
    fill(tmp_path, {"a": ("link", "b/c"), "b": {"a": "file", "c": {"b": ("link", "../a")}}})
    (tmp_path / "b/a").write_text("the one meant")
    assert found(tmp_path, "a/b").st_size == len("the one meant")


def test_the_root_itself_is_found_by_an_empty_path_or_a_symlink(
    tmp_path: Path,
) -> None:
    fill(tmp_path, {"a": {"b": ("link", "../")}, "c": ("link", ".")})
    for path in ("", "a/b", "c", "c/c/a/b"):
        assert found(tmp_path, path).st_ino == tmp_path.stat().st_ino


def test_forty_symlinks_are_followed_and_no_more(tmp_path: Path) -> None:
    (tmp_path / "0").write_text("file")
    for number in range(1, 42):
        (tmp_path / str(number)).symlink_to(str(number - 1))
    assert stat.S_ISREG(found(tmp_path, "40").st_mode)
    with pytest.raises(PathEscapes, match="more than 40 symlinks"):
        found(tmp_path, "41")


def test_a_path_that_is_too_deep_is_refused(tmp_path: Path) -> None:
    deepest = "/".join(["d"] * MAX_DEPTH)
    (tmp_path / deepest / "d").mkdir(parents=True)
    assert stat.S_ISDIR(found(tmp_path, f"{deepest}/d").st_mode)
    with pytest.raises(PathEscapes, match="levels deep"):
        found(tmp_path, f"{deepest}/d/x")


@pytest.mark.parametrize("path", ["a/b/c", "a/x/y", "up/x", "loop/x", "a", "file/x", "d/x/y"])
def test_no_directory_stays_open(tmp_path: Path, path: str) -> None:
    fill(
        tmp_path,
        {
            "a": {"b": {"c": "file"}},
            "up": ("link", "a/b/../../.."),
            "loop": ("link", "loop"),
            "file": "file",
            "d": ("link", "a/b"),
        },
    )
    before = open_files()
    for follow in (True, False):
        try:
            found(tmp_path, path, follow=follow)
        except (PathEscapes, OSError):
            continue
    assert open_files() == before


def test_only_regular_files_and_real_directories_are_opened(tmp_path: Path) -> None:
    fill(tmp_path, {"a": {}, "b": "file", "c": ("link", "b")})
    (tmp_path / "to_a").symlink_to("a")
    os.mkfifo(tmp_path / "fifo")
    with socket.socket(socket.AF_UNIX) as listening, opened(tmp_path) as fd:
        listening.bind(str(tmp_path / "socket"))
        before = open_files()
        # Opening a FIFO without a writer would block.
        for name in ("a", "c", "fifo", "socket", "absent"):
            with pytest.raises(OSError, match=name):
                open_file(fd, name)
        for name in ("b", "c", "to_a", "fifo", "socket", "absent"):
            with pytest.raises(OSError, match=name):
                open_directory(fd, name)
        assert open_files() == before
        for found_fd in (open_file(fd, "b"), open_directory(fd, "a")):
            os.close(found_fd)


def test_a_device_is_not_opened_as_a_file(tmp_path: Path) -> None:
    try:
        os.mknod(tmp_path / "null", 0o666 | stat.S_IFCHR, os.makedev(1, 3))
    except PermissionError:
        pytest.skip("making a device takes CAP_MKNOD, which this user lacks")
    with opened(tmp_path) as fd, pytest.raises(OSError, match="null"):
        open_file(fd, "null")
