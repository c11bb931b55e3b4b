"""What is collected of the outputs an action left, from real files."""

from __future__ import annotations

import asyncio
import os
import random
import resource
import socket
import stat
import tempfile
import threading
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeAlias, cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reapi_local.clock import SystemClock
from reapi_local.errors import BadOutput, Code
from reapi_local.execute.input_roots import InputRoots
from reapi_local.execute.job import Caller, Job
from reapi_local.execute.outputs import (
    IN_MEMORY_BYTES,
    MOST_BYTES,
    LargeFile,
    Outputs,
    digest_of_file,
)
from reapi_local.execute.runner import Runner, Stop
from reapi_local.execute.types import Launch, Outcome
from reapi_local.proto import remote_execution_pb2 as re_pb2
from reapi_local.protocol.command import Output, OutputKind, ParsedAction, ParsedCommand
from reapi_local.protocol.digest import Digest, DigestFunction, digest_of, parse_digest
from reapi_local.store.memory import MemoryResults, MemoryStore
from reapi_local.store.types import ActionKey, BlobWriter

ANY, FILE, DIRECTORY = OutputKind.ANY, OutputKind.FILE, OutputKind.DIRECTORY
FORMATS = re_pb2.Command
SECRET = b"what no action may get out of the machine"
SHA256 = DigestFunction.SHA256
FUNCTIONS = (DigestFunction.SHA256, DigestFunction.BLAKE3)
NOBODY = 65534
REPEATABLE = settings(derandomize=True, deadline=None, database=None)


@dataclass(frozen=True)
class File:
    data: bytes = b""
    is_executable: bool = False


@dataclass(frozen=True)
class Link:
    target: str


Node: TypeAlias = "File | Link | Tree"
Tree: TypeAlias = dict[str, Node]

names = st.text(st.characters(exclude_characters="/\0", codec="utf-8"), min_size=1, max_size=8)
names = names.filter(lambda name: name not in (".", ".."))
targets = st.text(st.characters(exclude_characters="\0", codec="utf-8"), min_size=1, max_size=20)
leaves = st.builds(File, st.binary(max_size=20), st.booleans()) | st.builds(Link, targets)
trees = st.dictionaries(
    names,
    st.recursive(leaves, lambda nodes: st.dictionaries(names, nodes, max_size=4), max_leaves=15),
    max_size=5,
)


def fill(directory: Path, tree: Tree) -> None:
    for name, node in tree.items():
        path = directory / name
        if isinstance(node, File):
            path.write_bytes(node.data)
            path.chmod(0o755 if node.is_executable else 0o644)
        elif isinstance(node, Link):
            os.symlink(node.target, path)
        else:
            path.mkdir()
            fill(path, node)


def noise(size: int, seed: int = 0) -> bytes:
    return random.Random(seed).randbytes(size)


@dataclass
class Collected:
    """A result, and the contents of the blobs that were handed out with it."""

    result: re_pb2.ActionResult
    blobs: Mapping[Digest, bytes]
    batches: int
    large: Sequence[Digest]
    function: DigestFunction = SHA256

    def blob(self, message: re_pb2.Digest) -> bytes:
        return self.blobs[parse_digest(message, self.function)]

    def files(self) -> dict[str, File]:
        return {
            file.path: File(self.blob(file.digest), file.is_executable)
            for file in self.result.output_files
        }

    def links(self) -> dict[str, str]:
        return {link.path: link.target for link in self.result.output_symlinks}

    def directories(self) -> dict[str, Tree]:
        return {entry.path: self.tree(entry) for entry in self.result.output_directories}

    def tree(self, entry: re_pb2.OutputDirectory) -> Tree:
        """As its Tree describes it, each of whose Directories has to be needed and in order."""
        message = re_pb2.Tree.FromString(self.blob(entry.tree_digest))
        children = {
            digest_of(child.SerializeToString(), self.function): child for child in message.children
        }
        assert len(children) == len(message.children), "a child is there twice"
        referred: set[Digest] = set()
        for digest, directory in [(None, message.root), *children.items()]:
            assert digest is None or digest in referred, "a child comes before its parents"
            referred |= {parse_digest(node.digest, self.function) for node in directory.directories}
        assert referred == set(children)
        assert entry.is_topologically_sorted
        return self._walked(message.root, children)

    def hierarchy(self, entry: re_pb2.OutputDirectory) -> Tree:
        """As its Directories describe it, each of which has to be a blob."""
        root = re_pb2.Directory.FromString(self.blob(entry.root_directory_digest))
        return self._walked(root, None)

    def _walked(
        self, directory: re_pb2.Directory, children: Mapping[Digest, re_pb2.Directory] | None
    ) -> Tree:
        tree: Tree = {}
        for nodes in (directory.files, directory.directories, directory.symlinks):
            encoded = [node.name.encode() for node in nodes]
            assert encoded == sorted(set(encoded))
        for file in directory.files:
            tree[file.name] = File(self.blob(file.digest), file.is_executable)
        for link in directory.symlinks:
            tree[link.name] = Link(link.target)
        for node in directory.directories:
            if children is not None:
                child = children[parse_digest(node.digest, self.function)]
            else:
                child = re_pb2.Directory.FromString(self.blob(node.digest))
            tree[node.name] = self._walked(child, children)
        return tree


def parsed(
    outputs: Iterable[Output], directory_format: int = 0, properties: tuple[str, ...] = ()
) -> ParsedCommand:
    return ParsedCommand(
        arguments=("true",),
        environment={},
        working_directory="",
        outputs=tuple(outputs),
        output_properties=properties,
        directory_format=directory_format,
        properties={},
    )


@contextmanager
def opened(directory: Path) -> Iterator[int]:
    fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        yield fd
    finally:
        os.close(fd)


def collect(
    root: Path,
    *outputs: str | Output,
    working_directory: str = "",
    function: DigestFunction = SHA256,
    follow: bool = False,
    directory_format: int = 0,
    properties: tuple[str, ...] = (),
) -> Collected:
    """Collect; paths alone may be anything. All blobs must have the digests they come with."""
    given = [Output(each, ANY) if isinstance(each, str) else each for each in outputs]
    command = parsed(given, directory_format, properties)
    blobs: dict[Digest, bytes] = {}
    batches, large = 0, []
    with opened(root) as fd:
        collecting = Outputs(fd, command, working_directory, function, follow=follow)
        for piece in collecting:
            if isinstance(piece, LargeFile):
                large.append(piece.digest)
                blobs[piece.digest] = os.pread(piece.fd, piece.digest.size_bytes + 1, 0)
            else:
                batches += 1
                blobs.update(piece)
        blobs.update(collecting.rest)
    assert blobs == {digest_of(data, function): data for data in blobs.values()}
    return Collected(collecting.result, blobs, batches, large, function)


def refused(root: Path, *outputs: str | Output, match: str, follow: bool = False) -> None:
    with pytest.raises(BadOutput, match=match) as caught:
        collect(root, *outputs, follow=follow)
    assert caught.value.code is Code.FAILED_PRECONDITION
    str(caught.value).encode()


def open_files() -> int:
    if not os.path.isdir("/proc/self/fd"):
        pytest.skip("open files are counted in /proc/self/fd, which this machine lacks")
    return len(os.listdir("/proc/self/fd"))


@contextmanager
def an_ordinary_user(*owned: Path) -> Iterator[None]:
    """Be one, if this is root; such a user then owns these paths."""
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


# Directories


@REPEATABLE
@given(trees, st.sampled_from(FUNCTIONS))
def test_a_directory_is_collected_exactly_as_it_is(tree: Tree, function: DigestFunction) -> None:
    with tempfile.TemporaryDirectory() as root:
        fill(Path(root), {"out": tree})
        collected = collect(Path(root), "out", function=function)
    assert collected.directories() == {"out": tree}
    assert not collected.result.output_files
    assert not collected.result.output_symlinks


@REPEATABLE
@given(trees, st.randoms(use_true_random=False))
def test_a_directory_has_one_digest_whatever_order_it_was_written_in(
    tree: Tree, order: random.Random
) -> None:
    def shuffled(tree: Tree) -> Tree:
        items = order.sample(list(tree.items()), len(tree))
        return {name: shuffled(node) if isinstance(node, dict) else node for name, node in items}

    with tempfile.TemporaryDirectory() as root:
        fill(Path(root), {"out": tree, "other": shuffled(tree)})
        first, second = collect(Path(root), "out", "other").result.output_directories
    assert first.tree_digest == second.tree_digest


@REPEATABLE
@given(trees, st.sampled_from([FORMATS.DIRECTORY_ONLY, FORMATS.TREE_AND_DIRECTORY]))
def test_each_directory_is_a_blob_when_a_client_wants_it_so(tree: Tree, wanted: int) -> None:
    with tempfile.TemporaryDirectory() as root:
        fill(Path(root), {"out": tree})
        collected = collect(Path(root), "out", directory_format=wanted)
    (entry,) = collected.result.output_directories
    assert collected.hierarchy(entry) == tree
    assert entry.HasField("tree_digest") == (wanted == FORMATS.TREE_AND_DIRECTORY)
    if entry.HasField("tree_digest"):
        assert collected.tree(entry) == tree
        message = re_pb2.Tree.FromString(collected.blob(entry.tree_digest))
        root_digest = digest_of(message.root.SerializeToString())
        assert root_digest == parse_digest(entry.root_directory_digest)


@pytest.mark.parametrize("wanted", [FORMATS.TREE_ONLY, 77])
def test_a_tree_is_what_a_client_gets_that_wants_nothing_else(tmp_path: Path, wanted: int) -> None:
    fill(tmp_path, {"out": {"a": {}}})
    collected = collect(tmp_path, "out", directory_format=wanted)
    (entry,) = collected.result.output_directories
    assert collected.tree(entry) == {"a": {}}
    assert not entry.HasField("root_directory_digest")
    assert list(collected.blobs) == [parse_digest(entry.tree_digest)]


def test_a_directory_that_is_there_many_times_is_one_child(tmp_path: Path) -> None:
    twig: Tree = {"x": File(b"x"), "deeper": {}}
    tree: Tree = {"a": twig, "b": {"c": twig, "d": twig}, "z": {"deeper": {}}}
    fill(tmp_path, {"out": tree})
    collected = collect(tmp_path, "out")
    (entry,) = collected.result.output_directories
    assert collected.tree(entry) == tree
    message = re_pb2.Tree.FromString(collected.blob(entry.tree_digest))
    assert len(message.children) == len(["twig", "deeper", "b", "z"])


def test_an_output_directory_may_be_so_deep_and_no_deeper(tmp_path: Path) -> None:
    (tmp_path / "/".join(["d"] * 201)).mkdir(parents=True)
    before = open_files()
    collected = collect(tmp_path, "d")
    deepest = collected.directories()["d"]
    for _ in range(200):
        deepest = cast("Tree", deepest["d"])
    assert deepest == {}
    refused(tmp_path, "", match="over 200 levels deep")
    (tmp_path / "/".join(["d"] * 250)).mkdir(parents=True)
    refused(tmp_path, "d", match="over 200 levels deep")
    assert open_files() == before


# Files


def test_files_are_collected_with_their_content_and_executable_bit(tmp_path: Path) -> None:
    tree: Tree = {"a": File(b"a", True), "d": {"b": File(b"b")}, "empty": File()}
    fill(tmp_path, tree)
    collected = collect(tmp_path, "empty", "d/b", Output("a", FILE))
    assert collected.files() == {"a": File(b"a", True), "d/b": File(b"b"), "empty": File()}


@pytest.mark.parametrize("function", FUNCTIONS)
def test_large_files_come_as_open_files_and_others_as_bytes(
    tmp_path: Path, function: DigestFunction
) -> None:
    sizes = {"a": IN_MEMORY_BYTES, "b": IN_MEMORY_BYTES + 1, "c": 3_000_001}
    files: Tree = {name: File(noise(size), name == "c") for name, size in sizes.items()}
    fill(tmp_path, {**files, "out": files})
    collected = collect(tmp_path, *sizes, "out", function=function)
    assert collected.files() == files
    assert collected.directories() == {"out": files}
    assert [digest.size_bytes for digest in collected.large] == 2 * [sizes["b"], sizes["c"]]


def test_much_comes_in_batches(tmp_path: Path) -> None:
    tree: Tree = {str(n): File(noise(IN_MEMORY_BYTES, seed=n)) for n in range(300)}
    fill(tmp_path, {"out": tree})
    collected = collect(tmp_path, "out")
    assert collected.directories() == {"out": tree}
    assert collected.batches == 1
    assert not collected.large


def test_many_come_in_batches(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "x").touch()
    for number in range(10_050):
        os.link(tmp_path / "a" / "x", tmp_path / "a" / str(number))
    collected = collect(tmp_path, "a")
    assert collected.batches == 1
    assert len(collected.directories()["a"]) == 10_051


def test_a_file_of_holes_is_refused_before_anybody_reads_it(tmp_path: Path) -> None:
    (tmp_path / "a").touch()
    try:
        os.truncate(tmp_path / "a", MOST_BYTES + 1)
    except OSError:
        pytest.skip("this file system has no files as large as that")
    refused(tmp_path, "a", match="over 64 GiB")
    with (tmp_path / "a").open("rb") as file, pytest.raises(BadOutput, match="over 64 GiB"):
        digest_of_file(file.fileno(), SHA256)


def test_node_properties_are_there_when_asked_for(tmp_path: Path) -> None:
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


# Where outputs are


def test_outputs_that_are_not_there_are_left_out(tmp_path: Path) -> None:
    fill(tmp_path, {"f": File(), "dangling": Link("nowhere"), "loop": Link("loop/x")})
    absent = ("a", "a/b", "f/x", "f/x/y", "dangling/x")
    for follow in (False, True):
        collected = collect(tmp_path, *absent, Output("d", DIRECTORY), follow=follow)
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
        whole = collect(tmp_path, Output("", DIRECTORY), follow=follow)
        assert whole.directories() == {"": {"w": inner, "b": Link("w")}}
        part = collect(tmp_path, "", working_directory="w", follow=follow)
        assert part.directories() == {"": inner}


def test_an_output_that_is_named_twice_is_collected_once(tmp_path: Path) -> None:
    fill(tmp_path, {"a": File(b"x"), "d": {"b": File(b"y")}})
    collected = collect(tmp_path, "a", "a", "d", "d/b")
    assert [file.path for file in collected.result.output_files] == ["a", "d/b"]


# Kinds


def test_an_output_of_another_kind_than_declared_is_refused(tmp_path: Path) -> None:
    fill(tmp_path, {"f": File(), "d": {}, "to_d": Link("d"), "to_f": Link("f")})
    refused(tmp_path, Output("d", FILE), match="'d' is a directory, the command declares a file")
    refused(tmp_path, Output("f", DIRECTORY), match="'f' is a file, .* declares a directory")
    refused(tmp_path, Output("to_d", FILE), match="'to_d' is a directory", follow=True)
    refused(tmp_path, Output("to_f", DIRECTORY), match="'to_f' is a file", follow=True)


@pytest.mark.parametrize("kind", OutputKind)
def test_neither_fifos_nor_sockets_are_outputs(tmp_path: Path, kind: OutputKind) -> None:
    os.mkfifo(tmp_path / "fifo")
    fill(tmp_path, {"d": {}, "to_fifo": Link("fifo")})
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(tmp_path / "d" / "socket"))
        refused(tmp_path, Output("fifo", kind), match="'fifo' is a FIFO")
        refused(tmp_path, Output("to_fifo", kind), match="is a FIFO", follow=True)
        refused(tmp_path, Output("d/socket", kind), match="'d/socket' is a socket")
        refused(tmp_path, "d", match="holds a socket, 'socket'")
        refused(tmp_path, "", match="holds a ")


def test_devices_are_no_outputs(tmp_path: Path) -> None:
    (tmp_path / "d").mkdir()
    try:
        os.mknod(tmp_path / "d" / "null", 0o666 | stat.S_IFCHR, os.makedev(1, 3))
    except PermissionError:
        pytest.skip("making a device takes CAP_MKNOD, which this user lacks")
    refused(tmp_path, "d/null", match="is a device")
    refused(tmp_path, "d", match="holds a device, 'null'")


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
def test_what_its_owner_may_not_read_is_refused_with_a_remedy(tmp_path: Path, path: str) -> None:
    fill(tmp_path, {"f": File(), "d": {"x": File()}, "whole": {"f": File(b"first"), "y": File()}})
    closed = [tmp_path / "f", tmp_path / "d", tmp_path / "whole" / "y"]
    for closed_path in closed:
        closed_path.chmod(0)
    outputs = parsed([Output(path, ANY)])
    before = open_files()
    with opened(tmp_path) as fd, an_ordinary_user(tmp_path, tmp_path / "whole", *closed):
        with pytest.raises(BadOutput, match=r"can't be read: .*denied.*; let the action leave"):
            list(Outputs(fd, outputs, "", SHA256, follow=path == "f"))
        assert open_files() == before + 1
    (tmp_path / "d").chmod(0o700)


# Symlinks


def test_symlinks_stay_what_they_are(tmp_path: Path) -> None:
    fill(tmp_path, {"a": Link("/etc/passwd"), "b": Link("../x/./y/"), "c": Link("d"), "d": {}})
    collected = collect(tmp_path, "a", "b", "c")
    assert collected.links() == {"a": "/etc/passwd", "b": "../x/./y/", "c": "d"}
    assert not collected.blobs
    older = collect(tmp_path, Output("a", FILE), Output("c", DIRECTORY)).result
    assert [(link.path, link.target) for link in older.output_file_symlinks] == [
        ("a", "/etc/passwd")
    ]
    assert [(link.path, link.target) for link in older.output_directory_symlinks] == [("c", "d")]
    assert not older.output_symlinks


def test_symlinks_are_followed_for_clients_that_want_content(tmp_path: Path) -> None:
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
    # Within a directory they stay: a Tree can tell of them.
    assert collected.directories() == {"dir": {"up": Link("../tool")}}
    assert list(collect(tmp_path, "root", follow=True).directories()["root"]) == list(
        collect(tmp_path, "").directories()[""]
    )


def test_a_symlink_that_leads_to_nothing_below_the_root_stays_one(tmp_path: Path) -> None:
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
    for output in (Output("out", ANY), Output("out", FILE), Output("out", DIRECTORY)):
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
def test_an_output_that_is_reached_only_through_the_outside_is_refused(
    tmp_path: Path, target: str, *, follow: bool
) -> None:
    (tmp_path / "secret").write_bytes(SECRET)
    root = tmp_path / "root"
    fill(tmp_path, {"root": {"d": Link(target.format(outside=tmp_path)), "x": {}}})
    (root / "loop").symlink_to("loop")
    refused(root, "d/secret", match="'d/secret' can't be collected", follow=follow)


# Files that are open


@pytest.mark.parametrize("stop_after", [1, 2, 3])
def test_who_stops_in_the_middle_leaves_no_file_open(tmp_path: Path, stop_after: int) -> None:
    large = File(noise(IN_MEMORY_BYTES + 1))
    fill(tmp_path, {"a": large, "d": {"e": {"a": large, "b": large}, "f": File(b"x")}})
    before = open_files()
    with opened(tmp_path) as fd:
        outputs = Outputs(fd, parsed([Output("a", ANY), Output("d", ANY)]), "", SHA256, follow=True)
        with closing(iter(outputs)) as pieces:
            piece = [next(pieces) for _ in range(stop_after)][-1]
            assert isinstance(piece, LargeFile)
            assert os.pread(piece.fd, 1 << 20, 0) == large.data
            assert open_files() > before + 1
        assert open_files() == before + 1


def test_collecting_holds_few_files_open_at_a_time(tmp_path: Path) -> None:
    large = File(noise(IN_MEMORY_BYTES + 1))
    fill(tmp_path, {"d": {str(n): large for n in range(100)}})
    before = open_files()
    with opened(tmp_path) as fd:
        outputs = Outputs(fd, parsed([Output("d", ANY)]), "", SHA256, follow=False)
        most = max(open_files() for _ in outputs)
    assert most <= before + 5


def test_the_machines_own_trouble_is_not_the_actions(tmp_path: Path) -> None:
    fill(tmp_path, {"a": File()})
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with opened(tmp_path) as fd:
        outputs = Outputs(fd, parsed([Output("a", ANY)]), "", SHA256, follow=False)
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (fd + 1, hard))
            with pytest.raises(OSError, match="Too many open files"):
                list(outputs)
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@dataclass
class Ended:
    """A sandbox whose action has left ``directory`` behind."""

    directory: Path
    root: str = "/reapi/root"

    async def start(self) -> None: ...

    async def close(self) -> None: ...

    @asynccontextmanager
    async def run(self, launch: Launch, stop: asyncio.Event) -> AsyncIterator[Outcome]:
        with opened(self.directory) as fd, tempfile.TemporaryFile() as nothing:
            silent = nothing.fileno()
            yield Outcome(0, fd, silent, silent, started_ns=0, ended_ns=0)


class NoInputs:
    @asynccontextmanager
    async def hold(self, root: Digest, run: str) -> AsyncIterator[tuple[str, ...]]:
        yield ()


@dataclass
class StuckStore(MemoryStore):
    """One whose writers never get anywhere."""

    writing: asyncio.Event = field(default_factory=asyncio.Event)

    def __post_init__(self) -> None:
        super().__init__()

    async def open_write(self, digest: Digest, run: str = "") -> BlobWriter:
        self.writing.set()
        await asyncio.Event().wait()
        raise AssertionError


def begin_run(directory: Path, store: MemoryStore) -> asyncio.Task[re_pb2.ExecuteResponse]:
    """Begin to run a job that leaves an output named "d"."""
    digest = digest_of(b"")
    job = Job(
        key=ActionKey("", digest),
        action=ParsedAction(digest, digest, None, False, re_pb2.Platform()),
        command=parsed([Output("d", ANY)]),
        launch=Launch(("true",), {}),
        output_directory="",
        timeout=1.0,
        follow_links=False,
        caller=Caller("", "", ""),
    )
    inputs = cast("InputRoots", NoInputs())
    runner = Runner(Ended(directory), inputs, store, MemoryResults(), SystemClock())
    return asyncio.create_task(runner.run(job, 0.0, Stop(), lambda: None))


async def cancelled(running: asyncio.Task[re_pb2.ExecuteResponse]) -> None:
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running


async def test_a_run_cancelled_while_it_stores_a_file_leaves_none_open(tmp_path: Path) -> None:
    fill(tmp_path, {"d": {"e": {"a": File(noise(IN_MEMORY_BYTES + 1))}}})
    before, store = open_files(), StuckStore()
    running = begin_run(tmp_path, store)
    await store.writing.wait()
    assert open_files() > before
    await cancelled(running)
    assert open_files() == before


async def test_a_run_cancelled_while_it_reads_a_file_leaves_none_open(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(tmp_path, {"d": {"e": {"a": File(noise(IN_MEMORY_BYTES + 1))}}})
    reads, goes_on, pread = asyncio.Event(), threading.Event(), os.pread
    loop = asyncio.get_running_loop()

    def held_up(fd: int, length: int, offset: int) -> bytes:
        loop.call_soon_threadsafe(reads.set)
        goes_on.wait()
        return pread(fd, length, offset)

    before = open_files()
    with monkeypatch.context() as patched:
        patched.setattr(os, "pread", held_up)
        running = begin_run(tmp_path, MemoryStore())
        await reads.wait()
        loop.call_soon(goes_on.set)
        await cancelled(running)
    assert open_files() == before
