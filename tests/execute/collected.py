"""Helpers: trees of files, and collecting them as outputs."""

from __future__ import annotations

import os
import random
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import pytest

from reapi_local.errors import BadOutput, Code
from reapi_local.execute.local.outputs import LargeFile, Outputs
from reapi_local.proto import remote_execution_pb2 as re_pb2
from reapi_local.protocol.command import Output, OutputKind, ParsedCommand
from reapi_local.protocol.digest import Digest, DigestFunction, digest_of, parse_digest
from reapi_local.protocol.paths import resolve_path

ANY, FILE, DIRECTORY = OutputKind.ANY, OutputKind.FILE, OutputKind.DIRECTORY
SHA256 = DigestFunction.SHA256
FUNCTIONS = (DigestFunction.SHA256, DigestFunction.BLAKE3)


@dataclass(frozen=True)
class File:
    data: bytes = b""
    is_executable: bool = False


@dataclass(frozen=True)
class Link:
    target: str


Node: TypeAlias = "File | Link | Tree"
Tree: TypeAlias = dict[str, Node]


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
    """A result, and the contents of the blobs that were yielded for it."""

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
        """The tree that the Tree message describes. Checks the order and use of its children."""
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
        """The tree that the Directory blobs describe."""
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


def declared(path: str, kind: OutputKind = ANY) -> Output:
    """An output of a command whose working directory is the input root."""
    return Output(path, kind, resolve_path("", path))


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
        properties=(),
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
    """Collect outputs; a plain path may be of any type. Checks the digests of all blobs."""
    given = [declared(each) if isinstance(each, str) else each for each in outputs]
    command = parsed(given, directory_format, properties).with_outputs_below(working_directory)
    blobs: dict[Digest, bytes] = {}
    batches, large = 0, []
    with opened(root) as fd:
        collecting = Outputs(fd, command, function, follow=follow)
        for piece in collecting:
            if isinstance(piece, LargeFile):
                large.append(piece.digest)
                blobs[piece.digest] = os.pread(piece.fd, piece.digest.size_bytes + 1, 0)
            else:
                batches += 1
                blobs.update(piece)
        blobs.update(collecting.last_batch)
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
