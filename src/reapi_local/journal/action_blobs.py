"""What the blobs of an action say about its process."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

from google.protobuf.message import DecodeError

from reapi_contract.masks import Masks
from reapi_contract.run_reports import ProcessReport
from reapi_local.errors import InvalidRequest
from reapi_local.journal import definitions
from reapi_local.journal.entries import Unread
from reapi_local.journal.link import link_of
from reapi_local.journal.result_facts import MAX_COUNT
from reapi_local.proto import remote_execution_pb2 as re_pb2
from reapi_local.protocol.command import ParsedAction
from reapi_local.protocol.digest import Digest, digest_of
from reapi_local.protocol.tree import parse_tree

_WRAPPER: Final = "__pants_wrapper__"
"""A script that Pants adds to the input root of what it executes remotely, and calls with the
arguments of the process. Reports name the process without it."""


class ParsedBlobs(NamedTuple):
    """``input_root``: without the wrapper of Pants. ``own_roots``: that Directory, if the client
    never had it."""

    definition: bytes
    input_root: Digest
    link: bytes
    own_roots: dict[Digest, bytes]


def parsed(
    unread: Unread, action: ParsedAction, command: bytes, root: bytes | None, masks: Masks
) -> ParsedBlobs:
    """The definition of an action's process, and its link.

    ``root``: the Directory of the input root, None if the store doesn't have it. Raises
    InvalidRequest.
    """
    message = _command(command)
    argv, input_root = list(message.arguments), action.input_root
    own: dict[Digest, bytes] = {}
    if argv and argv[0].rpartition("/")[2] == _WRAPPER and root is not None:
        argv, stripped = argv[1:], _without_wrapper(root)
        input_root = digest_of(stripped, input_root.function)
        own = {input_root: stripped}
    process = ProcessReport(
        description=unread.description,
        argv=masks.arguments(argv),
        env=masks.variables({one.name: one.value for one in message.environment_variables}),
        working_directory=message.working_directory,
        input_root=str(input_root),
        output_files=(*message.output_paths, *message.output_files),
        output_directories=tuple(message.output_directories),
        timeout_ms=round((action.timeout or 0) * 1000),
        platform_properties=_properties(action, message),
    )
    link = link_of(process.argv, process.env, process.input_root)
    return ParsedBlobs(definitions.encoded(process), input_root, link, own)


def tree_bytes(trees: Sequence[bytes]) -> int:
    """The size of all files in these Trees, within bounds. Raises InvalidRequest."""
    size = sum(
        file.digest.size_bytes
        for data in trees
        for tree in [parse_tree(data)]
        for directory in (tree.root, *tree.children)
        for file in directory.files
    )
    return min(max(0, size), MAX_COUNT)


def _command(data: bytes) -> re_pb2.Command:
    try:
        return re_pb2.Command.FromString(data)
    except DecodeError as error:
        raise InvalidRequest("the blob isn't a Command") from error


def _properties(action: ParsedAction, command: re_pb2.Command) -> tuple[str, ...]:
    chosen = action.platform if action.platform.properties else command.platform
    return tuple(f"{entry.name}={entry.value}" for entry in chosen.properties)


def _without_wrapper(root: bytes) -> bytes:
    try:
        directory = re_pb2.Directory.FromString(root)
    except DecodeError as error:
        raise InvalidRequest("the input root isn't a Directory") from error
    others = [file for file in directory.files if file.name != _WRAPPER]
    del directory.files[:]
    directory.files.extend(others)
    return directory.SerializeToString(deterministic=True)
