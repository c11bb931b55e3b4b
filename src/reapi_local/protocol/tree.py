"""Directories, Trees and action results as graphs of digests.

Source: REAPI v2, messages ``Directory``, ``Tree`` and ``ActionResult``.
"""

from __future__ import annotations

from collections.abc import Iterator

from google.protobuf.message import DecodeError

from reapi_local.errors import InvalidRequest, PathLeavesRoot
from reapi_local.proto import remote_execution_pb2 as re_pb2
from reapi_local.protocol.digest import (
    Digest,
    digest_of,
    function_for,
    parse_digest,
    parse_digest_text,
)
from reapi_local.protocol.paths import check_not_around, resolve_path


def parse_directory(data: bytes) -> re_pb2.Directory:
    """Parse a Directory from its blob; raises InvalidRequest if the blob isn't valid."""
    try:
        directory = re_pb2.Directory.FromString(data)
    except DecodeError as error:
        raise InvalidRequest("the blob isn't a Directory message") from error
    check_names(directory)
    return directory


def parse_tree(data: bytes) -> re_pb2.Tree:
    """Parse a Tree from its blob; raises InvalidRequest if the blob isn't valid."""
    try:
        tree = re_pb2.Tree.FromString(data)
    except DecodeError as error:
        raise InvalidRequest("the blob isn't a Tree message") from error
    for directory in (tree.root, *tree.children):
        check_names(directory)
    return tree


def check_names(directory: re_pb2.Directory) -> None:
    """Raise InvalidRequest if an entry's name could lead out of its directory."""
    for entries in (directory.files, directory.directories, directory.symlinks):
        for entry in entries:
            name = entry.name
            if not name or "/" in name or "\0" in name or name in (".", ".."):
                raise InvalidRequest(f"a Directory has an entry named {name!r}")


def file_digests(directory: re_pb2.Directory, function_number: int) -> Iterator[Digest]:
    """The digests of the files in this directory, without those in subdirectories."""
    for node in directory.files:
        yield parse_digest(node.digest, function_number)


def child_digests(directory: re_pb2.Directory, function_number: int) -> Iterator[Digest]:
    """The digests of the subdirectories of this directory."""
    for node in directory.directories:
        yield parse_digest(node.digest, function_number)


def tree_files(tree: re_pb2.Tree, function_number: int) -> frozenset[Digest]:
    """The digests of all files in a Tree.

    Its Directories are part of the message and need not be blobs: Pants uploads a Tree and its
    files, but not its Directories.
    """
    first = next((f for d in (tree.root, *tree.children) for f in d.files), None)
    if first is None:
        return frozenset()
    function = function_for(function_number, first.digest.hash)
    return frozenset(
        parse_digest_text(function, node.digest.hash, node.digest.size_bytes)
        for directory in (tree.root, *tree.children)
        for node in directory.files
    )


def check_tree(tree: re_pb2.Tree, function_number: int) -> None:
    """Raise InvalidRequest unless clients can make the directories of this Tree from it alone.

    So it has a root, and every sub-directory that it names is among its children (REAPI v2,
    ``Tree.children``). Clients find a child by the digest of its encoding, as is done here.
    """
    if not tree.HasField("root"):
        raise InvalidRequest("the Tree has no root")
    named = {
        (node.digest.hash, node.digest.size_bytes): node.name
        for directory in (tree.root, *tree.children)
        for node in directory.directories
    }
    if not named:
        return
    function = function_for(function_number, next(iter(named))[0])
    for child in tree.children:
        digest = digest_of(child.SerializeToString(deterministic=True), function)
        named.pop((digest.hash_hex, digest.size_bytes), None)
    for (hash_hex, size_bytes), name in named.items():
        raise InvalidRequest(
            f"the Tree names the sub-directory {name!r}, but {hash_hex}/{size_bytes} isn't among "
            "its children"
        )


def direct_digests(result: re_pb2.ActionResult, function_number: int) -> list[Digest]:
    """The blobs that an action result names directly: files, standard output and error.

    Those whose contents are inline, too, are among them: many clients read blobs only.
    """
    digests = [parse_digest(file.digest, function_number) for file in result.output_files]
    if result.HasField("stdout_digest"):
        digests.append(parse_digest(result.stdout_digest, function_number))
    if result.HasField("stderr_digest"):
        digests.append(parse_digest(result.stderr_digest, function_number))
    return digests


def check_result(result: re_pb2.ActionResult, function_number: int) -> None:
    """Raise InvalidRequest unless the result's digests are well-formed."""
    for directory in result.output_directories:
        if not directory.HasField("tree_digest") and not directory.HasField(
            "root_directory_digest"
        ):
            raise InvalidRequest(f"output directory {directory.path!r} has no digest")
        if directory.HasField("tree_digest"):
            parse_digest(directory.tree_digest, function_number)
        if directory.HasField("root_directory_digest"):
            parse_digest(directory.root_directory_digest, function_number)
    direct_digests(result, function_number)


def leaves_working_directory(result: re_pb2.ActionResult) -> bool:
    """Whether an output of the result is outside of the working directory, like ``../a``.

    Raises:
        InvalidRequest: an output path can't be right in any working directory.
    """
    found = False
    for path, may_be_directory in _output_paths(result):
        try:
            place = resolve_path("", path)
        except PathLeavesRoot:
            found = True
        else:
            if not may_be_directory:
                check_not_around(path, place, "")
    return found


def check_places(result: re_pb2.ActionResult, working_directory: str) -> None:
    """Check the places of outputs, whose paths are relative to the working directory.

    Raises:
        PathLeavesRoot: an output isn't within the input root.
        InvalidRequest: a file or a symlink can't be where the working directory is, or above it.
    """
    for path, may_be_directory in _output_paths(result):
        place = resolve_path(working_directory, path)
        if not may_be_directory:
            check_not_around(path, place, working_directory)


def _output_paths(result: re_pb2.ActionResult) -> Iterator[tuple[str, bool]]:
    """Each path, and whether a directory may be there."""
    for directory in result.output_directories:
        yield directory.path, True
    for file in result.output_files:
        yield file.path, False
    for symlinks in (
        result.output_symlinks,
        result.output_file_symlinks,
        result.output_directory_symlinks,
    ):
        for symlink in symlinks:
            yield symlink.path, False
