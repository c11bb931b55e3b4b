"""Which message of REAPI a blob is, judged by its bytes alone.

Messages have no mark of their type, and short bytes can be parsed as several. So a blob is a
message only if it is encoded as encoders do it, has no unknown field, and has what such a message
must have. The types with the strictest rules are tried first.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, TypeAlias, TypeVar

from google.protobuf.message import DecodeError, Message
from google.protobuf.unknown_fields import UnknownFieldSet

from reapi_contract import inspection
from reapi_local.errors import InvalidRequest
from reapi_local.proto import remote_execution_pb2 as re_pb2
from reapi_local.protocol.command import parse_action, parse_command
from reapi_local.protocol.digest import DigestFunction
from reapi_local.protocol.tree import (
    check_names,
    check_result,
    check_tree,
    child_digests,
    file_digests,
)

_M = TypeVar("_M", bound=Message)

_NOT_IN_TEXT: Final = frozenset(range(32)) - frozenset(b"\t\n\r\f\x1b")

Check: TypeAlias = Callable[[bytes, DigestFunction], None]


def kind_of(data: bytes, function: DigestFunction) -> str:
    """The kind of a blob, one of :data:`reapi_contract.inspection.KINDS`.

    ``function``: that of the blob's digest; the digests in a message are of the same one.
    """
    if not data or is_text(data):
        return inspection.FILE
    for kind, check in _CHECKS.items():
        try:
            check(data, function)
        except (InvalidRequest, DecodeError):
            continue
        return kind
    return inspection.FILE


def is_text(data: bytes) -> bool:
    """Whether the bytes are UTF-8 without the control characters that no text has.

    A character may be cut off at the end.
    """
    try:
        data.decode()
    except UnicodeDecodeError as error:
        if error.end < len(data) or len(data) - error.start > 3:
            return False
    return not _NOT_IN_TEXT.intersection(data)


def _action(data: bytes, function: DigestFunction) -> None:
    _check_encoding(re_pb2.Action, data)
    parse_action(data, function)


def _tree(data: bytes, function: DigestFunction) -> None:
    tree = _check_encoding(re_pb2.Tree, data)
    check_tree(tree, function)
    for directory in (tree.root, *tree.children):
        _check_directory(directory, function)


def _directory(data: bytes, function: DigestFunction) -> None:
    _check_directory(_check_encoding(re_pb2.Directory, data), function)


def _check_directory(directory: re_pb2.Directory, function: DigestFunction) -> None:
    check_names(directory)
    for _ in (*file_digests(directory, function), *child_digests(directory, function)):
        pass
    if any(not link.target for link in directory.symlinks):
        raise InvalidRequest("a symlink has no target")


def _result(data: bytes, function: DigestFunction) -> None:
    result = _check_encoding(re_pb2.ActionResult, data)
    check_result(result, function)
    if not (result.HasField("stdout_digest") or result.HasField("execution_metadata")):
        raise InvalidRequest("it has neither an output nor a time")


def _command(data: bytes, function: DigestFunction) -> None:
    _check_encoding(re_pb2.Command, data)
    parse_command(data, re_pb2.Platform())


_CHECKS: Final[dict[str, Check]] = {
    inspection.ACTION: _action,
    inspection.TREE_MESSAGE: _tree,
    inspection.DIRECTORY: _directory,
    inspection.RESULT: _result,
    inspection.COMMAND: _command,
}


def _check_encoding(kind: type[_M], data: bytes) -> _M:
    """Parse a message; raises InvalidRequest unless an encoder of this message made the bytes."""
    message = kind.FromString(data)
    if _has_unknown_fields(message) or message.SerializeToString(deterministic=True) != data:
        raise InvalidRequest(f"it is no {kind.DESCRIPTOR.name}")
    return message


def _has_unknown_fields(message: Message) -> bool:
    if len(UnknownFieldSet(message)):
        return True
    for field, value in message.ListFields():
        if field.message_type is None:
            continue
        is_repeated = not isinstance(value, Message)
        if any(map(_has_unknown_fields, value if is_repeated else (value,))):
            return True
    return False
