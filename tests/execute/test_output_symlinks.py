"""Symlinks among the outputs are kept or followed, but never out of the input root."""

from __future__ import annotations

from pathlib import Path
from typing import cast

import pytest

from execute.collected import (
    ANY,
    DIRECTORY,
    FILE,
    File,
    Link,
    Node,
    Tree,
    collect,
    declared,
    fill,
    refused,
)
from reapi_local.errors import BadOutput

SECRET = b"what no action may get out of the machine"


def test_symlinks_are_collected_as_symlinks(tmp_path: Path) -> None:
    fill(tmp_path, {"a": Link("/etc/passwd"), "b": Link("../x/./y/"), "c": Link("d"), "d": {}})
    collected = collect(tmp_path, "a", "b", "c")
    assert collected.links() == {"a": "/etc/passwd", "b": "../x/./y/", "c": "d"}
    assert not collected.blobs
    older = collect(tmp_path, declared("a", FILE), declared("c", DIRECTORY)).result
    assert [(link.path, link.target) for link in older.output_file_symlinks] == [
        ("a", "/etc/passwd")
    ]
    assert [(link.path, link.target) for link in older.output_directory_symlinks] == [("c", "d")]
    assert not older.output_symlinks


def test_symlinks_are_followed_if_requested(tmp_path: Path) -> None:
    fill(
        tmp_path,
        {
            "bin": {"tool": File(b"tool", True), "deep": {"up": Link("../tool")}},
            "tool": Link("a/link"),
            "a": {"link": Link("../b"), "dir": Link("../bin/deep")},
            "b": Link("./bin/deep/../tool"),
            "dir": Link("a/dir"),
            "root": Link("a/.."),
        },
    )
    collected = collect(tmp_path, "tool", "dir", "a/dir/up", follow=True)
    tool = File(b"tool", True)
    assert collected.files() == {"tool": tool, "a/dir/up": tool}
    # Below an output directory they stay symlinks, because a Tree can contain them.
    assert collected.directories() == {"dir": {"up": Link("../tool")}}
    assert list(collect(tmp_path, "root", follow=True).directories()["root"]) == list(
        collect(tmp_path, "").directories()[""]
    )


def test_a_symlink_that_leads_to_nothing_below_the_root_stays_a_symlink(tmp_path: Path) -> None:
    targets = {"a": "nowhere", "b": "/etc/passwd", "c": "../../etc/passwd", "d": "d", "e": "b"}
    fill(tmp_path, {name: Link(target) for name, target in targets.items()})
    collected = collect(tmp_path, *targets, follow=True)
    assert collected.links() == targets
    assert not collected.blobs


@pytest.mark.parametrize("follow", [False, True])
@pytest.mark.parametrize(
    "tree",
    [
        {"out": Link("{outside}/secret")},
        {"out": Link("../secret")},
        {"out": Link("./x/../../secret"), "x": {}},
        {"out": Link("up/secret"), "up": Link("..")},
        {"out": Link("d/e/secret"), "d": {"e": Link("../..")}},
        {"out": {"x": Link("../../secret"), "y": Link("{outside}")}},
        {"out": Link("up"), "up": Link("..")},
        {"out": Link("{outside}")},
        {"out": Link("/proc/self/cwd/secret")},
        {"out": Link("/proc/self/root")},
    ],
)
def test_nothing_outside_is_read(tmp_path: Path, tree: Tree, *, follow: bool) -> None:
    (tmp_path / "secret").write_bytes(SECRET)
    root = tmp_path / "root"
    root.mkdir()

    def filled(node: Node) -> Node:
        if isinstance(node, Link):
            return Link(node.target.format(outside=tmp_path))
        if isinstance(node, dict):
            return {name: filled(each) for name, each in node.items()}
        return node

    fill(root, cast("Tree", filled(tree)))
    for output in (declared("out", ANY), declared("out", FILE), declared("out", DIRECTORY)):
        try:
            collected = collect(root, output, follow=follow)
        except BadOutput:
            assert isinstance(tree["out"], dict)
            assert output.kind is FILE
            continue
        assert not collected.result.output_files
        assert not any(SECRET in data for data in collected.blobs.values())
    assert collect(root, "", follow=follow).directories()[""] == filled(tree)


@pytest.mark.parametrize("follow", [False, True])
@pytest.mark.parametrize("target", ["..", "{outside}", "x/../..", "loop"])
def test_an_output_behind_a_symlink_to_the_outside_is_refused(
    tmp_path: Path, target: str, *, follow: bool
) -> None:
    (tmp_path / "secret").write_bytes(SECRET)
    root = tmp_path / "root"
    fill(tmp_path, {"root": {"d": Link(target.format(outside=tmp_path)), "x": {}}})
    (root / "loop").symlink_to("loop")
    refused(root, "d/secret", match="'d/secret' can't be collected", follow=follow)
