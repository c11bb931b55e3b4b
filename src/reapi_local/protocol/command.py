"""Parses and checks commands and actions.

Source: REAPI v2, messages ``Command``, ``Action`` and ``Platform``.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from enum import Enum
from typing import Final, Self, TypeVar

from google.protobuf.message import DecodeError

from reapi_local.errors import InvalidRequest
from reapi_local.proto import remote_execution_pb2 as re_pb2
from reapi_local.protocol.digest import Digest, parse_digest
from reapi_local.protocol.paths import MAX_DEPTH, check_not_around, resolve_path

_M = TypeVar("_M", re_pb2.Action, re_pb2.Command)

_MAX_NAME: Final = 255
_MAX_PATH: Final = 4000

NODE_PROPERTIES: Final = ("mtime", "unix_mode")
"""The values that ``output_node_properties`` may have: fields of ``NodeProperties``."""


class OutputKind(Enum):
    """The allowed kind of an output. Newer clients accept any kind."""

    ANY = "file, directory or symlink"
    FILE = "file"
    DIRECTORY = "directory"


@dataclass(frozen=True)
class Output:
    """An output to collect.

    ``path``: as the client spelt it, relative to the working directory. ``place``: the same,
    relative to the input root, in the form of :func:`~reapi_local.protocol.paths.resolve_path`.
    """

    path: str
    kind: OutputKind
    place: str


@dataclass(frozen=True)
class ParsedCommand:
    """A valid command.

    ``working_directory``: relative to the input root, like the places of outputs. ``properties``:
    names and values of the platform's; a name may occur more than once.
    """

    arguments: tuple[str, ...]
    environment: Mapping[str, str]
    working_directory: str
    outputs: tuple[Output, ...]
    output_properties: tuple[str, ...]
    directory_format: int
    properties: tuple[tuple[str, str], ...]

    def with_outputs_below(self, directory: str) -> Self:
        """The same command, but output paths are relative to ``directory``.

        Raises:
            InvalidRequest: an output path leads out of the input root.
        """
        outputs = (_output(output.path, output.kind, directory) for output in self.outputs)
        return replace(self, outputs=tuple(outputs))


@dataclass(frozen=True)
class ParsedAction:
    """A valid action. ``timeout``: in seconds, None = the server's default."""

    command: Digest
    input_root: Digest
    timeout: float | None
    do_not_cache: bool
    platform: re_pb2.Platform


def parse_action(data: bytes, function_number: int) -> ParsedAction:
    """Parse an action from its blob.

    Raises:
        InvalidRequest: the blob isn't an Action, or a field is invalid.
    """
    action = _decoded(re_pb2.Action, data)
    for name in ("command_digest", "input_root_digest"):
        if not action.HasField(name):
            raise InvalidRequest(f"the action has no {name}")
    timeout = None
    if action.HasField("timeout"):
        timeout = action.timeout.seconds + action.timeout.nanos / 1e9
        if timeout < 0:
            raise InvalidRequest(f"the action's timeout can't be {timeout:g} seconds")
    return ParsedAction(
        command=parse_digest(action.command_digest, function_number),
        input_root=parse_digest(action.input_root_digest, function_number),
        timeout=timeout or None,
        do_not_cache=action.do_not_cache,
        platform=action.platform,
    )


def parse_command(data: bytes, platform: re_pb2.Platform) -> ParsedCommand:
    """Parse a command from its blob. ``platform``: the action's, which is used unless it is empty.

    Raises:
        InvalidRequest: the blob isn't a Command, or a field is invalid.
    """
    command = _decoded(re_pb2.Command, data)
    if not command.arguments or not command.arguments[0]:
        raise InvalidRequest("the command has no program to run: its arguments are empty")
    if any("\0" in argument for argument in command.arguments):
        raise InvalidRequest("an argument of the command contains a NUL character")
    directory = _working_directory(command.working_directory)
    for name in command.output_node_properties:
        if name not in NODE_PROPERTIES:
            raise InvalidRequest(
                f"output_node_properties: {name!r} isn't supported; "
                f"use {' or '.join(NODE_PROPERTIES)}"
            )
    chosen = platform if platform.properties else command.platform
    return ParsedCommand(
        arguments=tuple(command.arguments),
        environment=dict(_environment(command)),
        working_directory=directory,
        outputs=tuple(_outputs(command, directory)),
        output_properties=tuple(command.output_node_properties),
        directory_format=command.output_directory_format,
        properties=tuple((entry.name, entry.value) for entry in chosen.properties),
    )


def working_directory_of(data: bytes) -> str:
    """The working directory of a command's blob, relative to the input root.

    Raises:
        InvalidRequest: the blob isn't a Command, or the directory isn't within the input root.
    """
    return _working_directory(_decoded(re_pb2.Command, data).working_directory)


def _decoded(kind: type[_M], data: bytes) -> _M:
    try:
        return kind.FromString(data)
    except DecodeError as error:
        raise InvalidRequest(f"the blob isn't a message of type {kind.DESCRIPTOR.name}") from error


def _environment(command: re_pb2.Command) -> Iterator[tuple[str, str]]:
    for variable in command.environment_variables:
        if not variable.name or "=" in variable.name or "\0" in variable.name + variable.value:
            raise InvalidRequest(
                f"the environment variable {variable.name!r} can't be set: its name must not be "
                "empty or contain '=', and neither name nor value may contain a NUL character"
            )
        yield variable.name, variable.value


def _outputs(command: re_pb2.Command, directory: str) -> Iterator[Output]:
    """Only ``output_paths`` if it is set (REAPI v2.1), else the two older fields."""
    if command.output_paths:
        given = [(OutputKind.ANY, command.output_paths)]
    else:
        given = [
            (OutputKind.FILE, command.output_files),
            (OutputKind.DIRECTORY, command.output_directories),
        ]
    for kind, paths in given:
        for path in paths:
            yield _output(path, kind, directory)


def _output(path: str, kind: OutputKind, directory: str) -> Output:
    try:
        place = _resolved(directory, path)
    except InvalidRequest as error:
        raise InvalidRequest(f"output {error}") from error
    if kind is OutputKind.FILE:
        check_not_around(path, place, directory)
    return Output(path, kind, place)


def _working_directory(path: str) -> str:
    try:
        return _resolved("", path)
    except InvalidRequest as error:
        raise InvalidRequest(f"the working directory can't be used: {error}") from error


def _resolved(directory: str, path: str) -> str:
    place = resolve_path(directory, path)
    data = place.encode()
    if len(data) > _MAX_PATH or any(len(name) > _MAX_NAME for name in data.split(b"/")):
        raise InvalidRequest(f"path {place[:100]!r}... is longer than file systems allow")
    if place.count("/") >= MAX_DEPTH:
        raise InvalidRequest(f"path {place[:100]!r}... is over {MAX_DEPTH} levels deep")
    return place
