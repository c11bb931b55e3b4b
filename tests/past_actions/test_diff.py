"""`reapi-local diff`: what differs between two actions or two trees."""

from __future__ import annotations

from typing import Any

import pytest

from past_actions.lab import Lab, blobs_of
from reapi_local.proto.remote_execution_pb2 import Command, Directory
from rpc.helpers import digest_of


def directory(**files: str) -> Directory:
    return Directory(
        files=[
            {"name": name, "digest": digest_of(content.encode())}
            for name, content in sorted(files.items())
        ]
    )


def action(cache: Lab, root: Directory, *arguments: str, **more: Any) -> str:
    """With all files whose content is a letter."""
    variables = [{"name": name, "value": value} for name, value in sorted(more.items())]
    command = Command(arguments=arguments, environment_variables=variables)
    key, *_ = cache.upload(*blobs_of(command, root), *(bytes([n]) for n in range(97, 123)))
    return key


def test_each_part_that_differs_is_told_and_nothing_else(cache: Lab) -> None:
    a = action(cache, directory(one="a", two="b", x="x"), "tool", "--fast", "in", SAME="s", V="1")
    b = action(cache, directory(one="a", two="c", y="x"), "tool", "--slow", "in", SAME="s", W="2")

    found = cache.json("diff", a, b)
    assert found["arguments"] == [{"at": 1, "a": ["--fast"], "b": ["--slow"]}]
    assert found["environment"] == [
        {"name": "V", "a": "1", "b": None},
        {"name": "W", "a": None, "b": "2"},
    ]
    assert [(one["path"], bool(one["a"]), bool(one["b"])) for one in found["files"]] == [
        ("two", True, True),
        ("x", True, False),
        ("y", False, True),
    ]
    assert found["equal"] is False
    told = cache.text("diff", a, b)
    for line in ("  - --fast", "  + --slow", "  - V=1", "  + W=2", "  ~ two (other content)"):
        assert f"{line}\n" in told
    assert "SAME" not in told


def test_equal_actions_are_said_to_be_equal(cache: Lab) -> None:
    one = action(cache, directory(one="a"), "tool")

    assert cache.text("diff", one, one).endswith("They are equal.\n")


def test_secrets_are_told_to_differ_without_being_shown(cache: Lab) -> None:
    a, b, c = (
        action(cache, directory(), "tool", f"--n={number}", MY_TOKEN=value)
        for number, value in enumerate(("hunter2", "hunter3", "hunter2"))
    )

    different, same = cache.json("diff", a, b), cache.json("diff", a, c)
    [change] = different["environment"]
    assert change["name"] == "MY_TOKEN"
    assert change["a"] != change["b"]
    assert same["environment"] == []
    assert "hunter" not in str(different)
    assert "hunter2" in cache.text("diff", a, b, "--secrets")


def test_of_a_file_the_lines_are_compared(cache: Lab) -> None:
    old, new = b"one\ntwo\nthree\n", b"one\n2\nthree"
    roots = [
        Directory(files=[{"name": "f", "digest": digest_of(content)}]) for content in (old, new)
    ]
    a, b, *_ = cache.upload(*(root.SerializeToString() for root in roots), old, new)

    assert cache.text("diff", a, b, "--text", "f").splitlines() == [
        *("--- a/f", "+++ b/f", "@@ -1,3 +1,3 @@", " one", "-two", "-three", "+2", "+three"),
        "\\ No newline at end",
    ]
    assert cache.text("diff", a, a, "--text", "f") == "f is equal in both.\n"
    assert "no 'g'" in cache.refusal("diff", a, b, "--text", "g")


def test_directories_that_one_side_lacks_are_told_file_by_file(cache: Lab) -> None:
    sub = directory(deep="a").SerializeToString()
    empty = Directory().SerializeToString()
    a = directory(sub="a").SerializeToString()
    b = Directory(
        directories=[
            {"name": "none", "digest": digest_of(empty)},
            {"name": "sub", "digest": digest_of(sub)},
        ]
    ).SerializeToString()
    left, right, _ = cache.upload(a, b, sub)

    found = cache.json("diff", left, right)["files"]
    kinds = [(one["path"], *((one[side] or {}).get("kind") for side in "ab")) for one in found]
    assert kinds == [
        ("none", None, "directory"),
        ("sub", "file", None),
        ("sub/deep", None, "file"),
    ]


def test_what_the_store_lost_is_named_and_the_rest_compared(cache: Lab) -> None:
    root = directory(gone="never uploaded")
    lost, *_ = cache.upload(blobs_of(Command(arguments=["lost"]), root)[0])
    cache.upload(blobs_of(Command(arguments=["lost"]), root)[1])
    whole = action(cache, directory(), "found")

    found = cache.json("diff", lost, whole)
    assert found["arguments"] == [{"at": 0, "a": ["lost"], "b": ["found"]}]
    assert found["lost"] == ["the directory at the top"]
    assert "Not all could be compared." in cache.text("diff", lost, whole)


@pytest.mark.parametrize("other", ["file", "command"])
def test_what_has_no_files_is_not_compared_with_a_tree(cache: Lab, other: str) -> None:
    [tree] = cache.upload(directory(one="a").SerializeToString())
    content = {
        "file": b"text",
        "command": Command(arguments=["/bin/echo", "1"], working_directory="x"),
    }[other]
    encoded = content if isinstance(content, bytes) else content.SerializeToString()
    [digest] = cache.upload(encoded)

    assert f"is a {other}" in cache.refusal("diff", tree, digest)


def test_trees_may_be_deeper_than_calls_may_nest(cache: Lab) -> None:
    """Their paths have 3000 names: no file system has those, but a client may send them."""
    chains = []
    for content in (b"a", b"b"):
        chain = [Directory(files=[{"name": "f", "digest": digest_of(content)}]).SerializeToString()]
        for _ in range(3000):
            node = {"name": "d", "digest": digest_of(chain[-1])}
            chain.append(Directory(directories=[node]).SerializeToString())
        chains.append(chain)
    a, b = (cache.upload(*chain)[-1] for chain in chains)

    [change] = cache.json("diff", a, b)["files"]
    assert change["path"] == "d/" * 3000 + "f"
    listed = cache.json("tree", a, "--limit=10000")["entries"]
    assert listed[-1]["path"] == "d/" * 3000 + "f"
    assert cache.json("show", a)["totals"]["directories"] == 3000
