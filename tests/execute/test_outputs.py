"""Collecting outputs from real files."""

from __future__ import annotations

import os
import socket
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from execute.collected import (
    ANY,
    DIRECTORY,
    FILE,
    FUNCTIONS,
    SHA256,
    File,
    Link,
    Tree,
    collect,
    declared,
    fill,
    noise,
    open_files,
    opened,
    parsed,
    refused,
)
from reapi_local.errors import BadOutput
from reapi_local.execute.local.output_sizes import MAX_BYTES
from reapi_local.execute.local.outputs import IN_MEMORY_BYTES, Outputs, digest_of_file
from reapi_local.proto import remote_execution_pb2 as re_pb2
from reapi_local.protocol.command import OutputKind
from reapi_local.protocol.digest import DigestFunction

NOBODY = 65534


@contextmanager
def an_ordinary_user(*owned: Path) -> Iterator[None]:
    """Within the block, root acts as an ordinary user who owns these paths."""
    if os.geteuid() != 0:
        yield
        return
    for path in owned:
        os.chown(path, NOBODY, NOBODY)
    os.seteuid(NOBODY)
    try:
        yield
    finally:
        os.seteuid(0)


def test_files_are_collected_with_their_content_and_executable_bit(tmp_path: Path) -> None:
    tree: Tree = {"a": File(b"a", True), "d": {"b": File(b"b")}, "empty": File()}
    fill(tmp_path, tree)
    collected = collect(tmp_path, "empty", "d/b", declared("a", FILE))
    assert collected.files() == {"a": File(b"a", True), "d/b": File(b"b"), "empty": File()}


@pytest.mark.parametrize("function", FUNCTIONS)
def test_large_files_are_yielded_as_descriptors_and_others_as_bytes(
    tmp_path: Path, function: DigestFunction
) -> None:
    sizes = {"a": IN_MEMORY_BYTES, "b": IN_MEMORY_BYTES + 1, "c": 3_000_001}
    files: Tree = {name: File(noise(size), name == "c") for name, size in sizes.items()}
    fill(tmp_path, {**files, "out": files})
    collected = collect(tmp_path, *sizes, "out", function=function)
    assert collected.files() == files
    assert collected.directories() == {"out": files}
    assert [digest.size_bytes for digest in collected.large] == 2 * [sizes["b"], sizes["c"]]


def test_many_bytes_are_yielded_in_batches(tmp_path: Path) -> None:
    tree: Tree = {str(n): File(noise(IN_MEMORY_BYTES, seed=n)) for n in range(300)}
    fill(tmp_path, {"out": tree})
    collected = collect(tmp_path, "out")
    assert collected.directories() == {"out": tree}
    assert collected.batches == 1
    assert not collected.large


def test_many_blobs_are_yielded_in_batches(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "x").touch()
    for number in range(10_050):
        os.link(tmp_path / "a" / "x", tmp_path / "a" / str(number))
    collected = collect(tmp_path, "a")
    assert collected.batches == 1
    assert len(collected.directories()["a"]) == 10_051


def test_a_huge_sparse_file_is_refused_before_it_is_read(tmp_path: Path) -> None:
    (tmp_path / "a").touch()
    try:
        os.truncate(tmp_path / "a", MAX_BYTES + 1)
    except OSError:
        pytest.skip("this file system has no files as large as that")
    refused(tmp_path, "a", match="over 64 GiB")
    with (tmp_path / "a").open("rb") as file, pytest.raises(BadOutput, match="over 64 GiB"):
        digest_of_file(file.fileno(), SHA256)


def test_reading_a_large_file_stops_when_cancelled(tmp_path: Path) -> None:
    class Unwanted(Exception):
        pass

    asked: list[None] = []

    def go_on() -> None:
        asked.append(None)
        if len(asked) == 3:
            raise Unwanted

    (tmp_path / "a").touch()
    os.truncate(tmp_path / "a", 1 << 30)
    fd = os.open(tmp_path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        command = parsed([declared("a", OutputKind.ANY)])
        with pytest.raises(Unwanted):
            list(Outputs(fd, command, SHA256, follow=False, cancel_check=go_on))
    finally:
        os.close(fd)
    assert len(asked) == 3


def test_node_properties_are_present_if_requested(tmp_path: Path) -> None:
    fill(tmp_path, {"f": File(), "l": Link("f"), "d": {"f": File(b"x"), "l": Link("f"), "d": {}}})
    times = {"f": -1_500_000_000, "l": 7_000_000_123, "d/f": 5, "d/l": 6, "d/d": 0, "d": 1 << 61}
    for path, mtime_ns in times.items():
        os.utime(tmp_path / path, ns=(0, mtime_ns), follow_symlinks=False)
    (tmp_path / "f").chmod(0o640)
    (tmp_path / "d/d").chmod(0o1750)

    collected = collect(tmp_path, "f", "l", "d", properties=("mtime", "unix_mode"))
    result = collected.result
    tree = re_pb2.Tree.FromString(collected.blob(result.output_directories[0].tree_digest))
    got = {
        "f": result.output_files[0].node_properties,
        "l": result.output_symlinks[0].node_properties,
        "d": tree.root.node_properties,
        "d/f": tree.root.files[0].node_properties,
        "d/l": tree.root.symlinks[0].node_properties,
        "d/d": tree.children[0].node_properties,
    }
    for path, properties in got.items():
        mode = stat.S_IMODE((tmp_path / path).lstat().st_mode)
        assert (path, properties.unix_mode.value) == (path, mode)
        time = properties.mtime
        assert (path, time.seconds * 1_000_000_000 + time.nanos) == (path, times[path])
        assert time.nanos >= 0

    only_mode = collect(tmp_path, "f", properties=("unix_mode",)).result.output_files[0]
    assert not only_mode.node_properties.HasField("mtime")
    none = collect(tmp_path, "f", "l", "d")
    assert not none.result.output_files[0].HasField("node_properties")
    assert not none.result.output_symlinks[0].HasField("node_properties")
    tree = re_pb2.Tree.FromString(none.blob(none.result.output_directories[0].tree_digest))
    assert not any(node.HasField("node_properties") for node in [tree.root, *tree.children])


def test_absent_outputs_are_left_out(tmp_path: Path) -> None:
    fill(tmp_path, {"f": File(), "dangling": Link("nowhere"), "loop": Link("loop/x")})
    absent = ("a", "a/b", "f/x", "f/x/y", "dangling/x")
    for follow in (False, True):
        collected = collect(tmp_path, *absent, declared("d", DIRECTORY), follow=follow)
        assert collected.result == re_pb2.ActionResult()
        assert not collected.blobs


def test_output_paths_are_relative_to_the_working_directory(tmp_path: Path) -> None:
    fill(tmp_path, {"w": {"d": {"a": File(b"right"), "e": {}}}, "a": File(b"wrong"), "e": {}})
    collected = collect(tmp_path, "a", "e", working_directory="w/d")
    assert collected.files() == {"a": File(b"right")}
    assert collected.directories() == {"e": {}}


def test_the_empty_path_is_the_whole_working_directory(tmp_path: Path) -> None:
    inner: Tree = {"a": File(b"x"), "e": {}}
    fill(tmp_path, {"w": inner, "b": Link("w")})
    for follow in (False, True):
        whole = collect(tmp_path, declared("", DIRECTORY), follow=follow)
        assert whole.directories() == {"": {"w": inner, "b": Link("w")}}
        part = collect(tmp_path, "", working_directory="w", follow=follow)
        assert part.directories() == {"": inner}


def test_an_output_that_is_named_twice_is_collected_once(tmp_path: Path) -> None:
    fill(tmp_path, {"a": File(b"x"), "d": {"b": File(b"y")}})
    collected = collect(tmp_path, "a", "a", "d", "d/b")
    assert [file.path for file in collected.result.output_files] == ["a", "d/b"]


def test_an_output_of_another_type_than_declared_is_refused(tmp_path: Path) -> None:
    fill(tmp_path, {"f": File(), "d": {}, "to_d": Link("d"), "to_f": Link("f")})
    refused(tmp_path, declared("d", FILE), match="'d' is a directory, .* declares a file")
    refused(tmp_path, declared("f", DIRECTORY), match="'f' is a file, .* declares a directory")
    refused(tmp_path, declared("to_d", FILE), match="'to_d' is a directory", follow=True)
    refused(tmp_path, declared("to_f", DIRECTORY), match="'to_f' is a file", follow=True)


@pytest.mark.parametrize("kind", OutputKind)
def test_fifos_and_sockets_are_refused(tmp_path: Path, kind: OutputKind) -> None:
    os.mkfifo(tmp_path / "fifo")
    fill(tmp_path, {"d": {}, "to_fifo": Link("fifo")})
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(tmp_path / "d" / "socket"))
        refused(tmp_path, declared("fifo", kind), match="'fifo' is a FIFO")
        refused(tmp_path, declared("to_fifo", kind), match="is a FIFO", follow=True)
        refused(tmp_path, declared("d/socket", kind), match="'d/socket' is a socket")
        refused(tmp_path, "d", match="contains a socket, 'socket'")
        refused(tmp_path, "", match="contains a ")


def test_devices_are_refused(tmp_path: Path) -> None:
    (tmp_path / "d").mkdir()
    try:
        os.mknod(tmp_path / "d" / "null", 0o666 | stat.S_IFCHR, os.makedev(1, 3))
    except PermissionError:
        pytest.skip("making a device takes CAP_MKNOD, which this user lacks")
    refused(tmp_path, "d/null", match="is a device")
    refused(tmp_path, "d", match="contains a device, 'null'")


def test_names_and_targets_that_are_not_utf8_are_refused(tmp_path: Path) -> None:
    for directory in (b"file", b"dir", b"link", b"target"):
        os.mkdir(os.fsencode(tmp_path) + b"/" + directory)
    (tmp_path / os.fsdecode(b"file/\xff")).touch()
    (tmp_path / os.fsdecode(b"dir/\xff")).mkdir()
    (tmp_path / os.fsdecode(b"link/\xff")).symlink_to("x")
    (tmp_path / os.fsdecode(b"target/x")).symlink_to(os.fsdecode(b"\xff"))
    for output in ("file", "dir", "link", "target", "target/x"):
        refused(tmp_path, output, match=r"isn't UTF-8.*xff")
    refused(tmp_path, "target/x", match=r"isn't UTF-8.*xff", follow=True)


@pytest.mark.parametrize("path", ["f", "d", "d/x", "whole"])
def test_unreadable_outputs_are_refused_with_a_cure(tmp_path: Path, path: str) -> None:
    fill(tmp_path, {"f": File(), "d": {"x": File()}, "whole": {"f": File(b"first"), "y": File()}})
    closed = [tmp_path / "f", tmp_path / "d", tmp_path / "whole" / "y"]
    for closed_path in closed:
        closed_path.chmod(0)
    outputs = parsed([declared(path, ANY)])
    before = open_files()
    with opened(tmp_path) as fd, an_ordinary_user(tmp_path, tmp_path / "whole", *closed):
        with pytest.raises(BadOutput, match=r"can't be read: .*denied.*; change the action"):
            list(Outputs(fd, outputs, SHA256, follow=path == "f"))
        assert open_files() == before + 1
    (tmp_path / "d").chmod(0o700)
