"""Directories, Trees and action results: what they reach, and what is refused."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reapi_local.errors import InvalidRequest, PathLeavesRoot
from reapi_local.proto import remote_execution_pb2 as re_pb2
from reapi_local.protocol.digest import Digest, DigestFunction, digest_of
from reapi_local.protocol.tree import (
    check_places,
    check_result,
    child_digests,
    direct_digests,
    file_digests,
    leaves_working_directory,
    parse_directory,
    parse_tree,
    tree_files,
)

BAD_NAMES = ["", ".", "..", "a/b", "/", "../x", "a\0b"]


def message(digest: Digest) -> re_pb2.Digest:
    return re_pb2.Digest(hash=digest.hash_hex, size_bytes=digest.size_bytes)


def file_node(name: str, digest: Digest) -> re_pb2.FileNode:
    return re_pb2.FileNode(name=name, digest=message(digest))


def with_name(kind: str, name: str) -> re_pb2.Directory:
    digest = message(digest_of(b"x"))
    if kind == "file":
        return re_pb2.Directory(files=[re_pb2.FileNode(name=name, digest=digest)])
    if kind == "directory":
        return re_pb2.Directory(directories=[re_pb2.DirectoryNode(name=name, digest=digest)])
    return re_pb2.Directory(symlinks=[re_pb2.SymlinkNode(name=name, target="../anywhere")])


@pytest.mark.parametrize("kind", ["file", "directory", "symlink"])
@pytest.mark.parametrize("name", BAD_NAMES)
def test_a_name_that_leads_elsewhere_is_refused(kind: str, name: str) -> None:
    directory, good = with_name(kind, name), with_name(kind, "...")
    with pytest.raises(InvalidRequest):
        parse_directory(directory.SerializeToString())
    for tree in (re_pb2.Tree(root=directory), re_pb2.Tree(root=good, children=[good, directory])):
        with pytest.raises(InvalidRequest):
            parse_tree(tree.SerializeToString())
    assert parse_directory(good.SerializeToString()) == good


@given(st.binary(max_size=100))
def test_any_bytes_are_a_message_or_refused(data: bytes) -> None:
    for parse in (parse_directory, parse_tree):
        try:
            parse(data)
        except InvalidRequest:
            continue


@pytest.mark.parametrize("function", DigestFunction)
def test_a_tree_reaches_the_files_of_all_its_directories(function: DigestFunction) -> None:
    contents = [digest_of(bytes((n,)), function) for n in range(5)]
    child = re_pb2.Directory(files=[file_node("c", contents[2]), file_node("d", contents[0])])
    other = re_pb2.Directory(files=[file_node("e", contents[3])])
    root = re_pb2.Directory(
        files=[file_node("a", contents[0]), file_node("b", contents[1])],
        directories=[re_pb2.DirectoryNode(name="sub", digest=message(contents[4]))],
    )
    tree = re_pb2.Tree(root=root, children=[child, other])
    assert tree_files(tree, function) == set(contents[:4])
    assert list(file_digests(root, function)) == contents[:2]
    assert list(child_digests(root, function)) == contents[4:]


def test_an_empty_tree_reaches_nothing() -> None:
    assert tree_files(parse_tree(b""), 0) == frozenset()


def test_a_tree_with_a_malformed_digest_is_refused() -> None:
    node = re_pb2.FileNode(name="a", digest=re_pb2.Digest(hash="abc", size_bytes=1))
    with pytest.raises(InvalidRequest):
        tree_files(re_pb2.Tree(root=re_pb2.Directory(files=[node])), 0)


def test_a_result_names_its_files_and_streams_inline_or_not() -> None:
    digests = [digest_of(bytes((n,))) for n in range(4)]
    result = re_pb2.ActionResult(
        output_files=[
            re_pb2.OutputFile(path="a", digest=message(digests[0])),
            re_pb2.OutputFile(path="b", digest=message(digests[1]), contents=b"\1"),
        ],
        stdout_digest=message(digests[2]),
        stderr_digest=message(digests[3]),
        stderr_raw=b"\3",
    )
    assert direct_digests(result, 0) == digests
    assert direct_digests(re_pb2.ActionResult(), 0) == []


def results_with(path: str) -> list[re_pb2.ActionResult]:
    """Results with this path, in each place where a file or a symlink may stand."""
    digest = message(digest_of(b"x"))
    return [
        re_pb2.ActionResult(output_files=[re_pb2.OutputFile(path=path, digest=digest)]),
        re_pb2.ActionResult(output_symlinks=[re_pb2.OutputSymlink(path=path)]),
        re_pb2.ActionResult(output_file_symlinks=[re_pb2.OutputSymlink(path=path)]),
        re_pb2.ActionResult(output_directory_symlinks=[re_pb2.OutputSymlink(path=path)]),
    ]


def directory_with(path: str) -> re_pb2.ActionResult:
    directory = re_pb2.OutputDirectory(path=path, tree_digest=message(digest_of(b"x")))
    return re_pb2.ActionResult(output_directories=[directory])


@pytest.mark.parametrize(
    "path", ["a", "a/b", "a/...", "ä ö", ".hidden/x", "a\\b", "./a", "a/", "a//b", "a/../b"]
)
def test_paths_below_the_working_directory_are_fine(path: str) -> None:
    for result in (*results_with(path), directory_with(path)):
        assert not leaves_working_directory(result)


@pytest.mark.parametrize("path", ["", ".", "a/.."])
def test_the_working_directory_itself_may_be_an_output_but_no_file(path: str) -> None:
    assert not leaves_working_directory(directory_with(path))
    for result in results_with(path):
        with pytest.raises(InvalidRequest, match="itself"):
            leaves_working_directory(result)


@pytest.mark.parametrize("path", ["/", "/a", "a\0"])
def test_paths_that_no_directory_makes_right_are_refused_beside_any_others(path: str) -> None:
    for result in (*results_with(path), directory_with(path)):
        result.output_symlinks.insert(0, re_pb2.OutputSymlink(path="../climbs"))
        with pytest.raises(InvalidRequest, match=r"absolute|NUL"):
            leaves_working_directory(result)


@pytest.mark.parametrize("path", ["../a", "a/../../b", "../w2", "./../w/a"])
def test_paths_that_climb_may_leave_the_working_directory_but_not_the_input_root(
    path: str,
) -> None:
    for result in (*results_with(path), directory_with(path)):
        assert leaves_working_directory(result)
        check_places(result, "w")
        with pytest.raises(PathLeavesRoot, match="leads out of the input root"):
            check_places(result, "")


@pytest.mark.parametrize("path", ["..", "./..", "../../w", "../v", "../../w/v", "../v/../.."])
def test_what_contains_the_working_directory_may_be_an_output_but_no_file(path: str) -> None:
    check_places(directory_with(path), "w/v")
    for result in results_with(path):
        with pytest.raises(InvalidRequest, match="the working directory itself"):
            check_places(result, "w/v")


def test_digests_of_a_result_must_be_well_formed() -> None:
    bad = re_pb2.Digest(hash="A" * 64, size_bytes=1)
    for result in (
        re_pb2.ActionResult(output_files=[re_pb2.OutputFile(path="a", digest=bad)]),
        re_pb2.ActionResult(stdout_digest=bad),
        re_pb2.ActionResult(stderr_digest=bad),
        re_pb2.ActionResult(output_directories=[re_pb2.OutputDirectory(path="d", tree_digest=bad)]),
        re_pb2.ActionResult(
            output_directories=[re_pb2.OutputDirectory(path="d", root_directory_digest=bad)]
        ),
        re_pb2.ActionResult(output_directories=[re_pb2.OutputDirectory(path="d")]),
    ):
        with pytest.raises(InvalidRequest):
            check_result(result, 0)
