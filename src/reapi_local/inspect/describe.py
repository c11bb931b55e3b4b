"""Actions, commands and results as the records that people are shown."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp

from reapi_contract.inspection import (
    DIRECTORY,
    FILE,
    LINK,
    ActionFields,
    CommandFields,
    Entry,
    ResultFields,
)
from reapi_contract.masks import Masks
from reapi_local.proto import remote_execution_pb2 as re_pb2
from reapi_local.protocol.digest import Digest, digest_of
from reapi_local.protocol.lookup import StoredResult

_MAX_OUTPUTS: Final = 1000


def action_fields(action: re_pb2.Action) -> ActionFields:
    return ActionFields(
        command=text_of(action.command_digest),
        input_root=text_of(action.input_root_digest),
        timeout_s=_seconds(action.timeout),
        do_not_cache=action.do_not_cache,
        salt=action.salt.hex(),
    )


def command_fields(command: re_pb2.Command, platform: re_pb2.Platform) -> CommandFields:
    """``platform``: the action's, which is used unless it is empty."""
    chosen = platform if platform.properties else command.platform
    return CommandFields(
        arguments=tuple(command.arguments),
        environment=tuple(f"{one.name}={one.value}" for one in command.environment_variables),
        platform=tuple(f"{one.name}={one.value}" for one in chosen.properties),
        working_directory=command.working_directory,
        outputs=tuple(command.output_paths or (*command.output_files, *command.output_directories)),
    )


def without_secrets(command: CommandFields, masks: Masks) -> CommandFields:
    """The same command with the secrets in its variables and arguments masked."""
    pairs = dict(variable.split("=", 1) for variable in command.environment)
    return replace(
        command,
        arguments=masks.arguments(command.arguments),
        environment=tuple(f"{name}={value}" for name, value in masks.variables(pairs).items()),
    )


def result_fields(result: re_pb2.ActionResult, action: Digest) -> ResultFields:
    """A result of an action, without who wrote it."""
    outputs = outputs_of(result)
    times = result.execution_metadata
    return ResultFields(
        exit_code=result.exit_code,
        outputs=tuple(outputs[:_MAX_OUTPUTS]),
        more=max(0, len(outputs) - _MAX_OUTPUTS),
        stdout=_stream(result.stdout_raw, result.stdout_digest, action),
        stderr=_stream(result.stderr_raw, result.stderr_digest, action),
        worker=times.worker,
        queued_at=_moment(times.queued_timestamp),
        fetched_s=_between(
            times.input_fetch_start_timestamp, times.input_fetch_completed_timestamp
        ),
        executed_s=_between(times.execution_start_timestamp, times.execution_completed_timestamp),
        uploaded_s=_between(
            times.output_upload_start_timestamp, times.output_upload_completed_timestamp
        ),
    )


def entry_fields(stored: StoredResult, action: Digest) -> ResultFields:
    """An entry of the action cache: a result and who wrote it."""
    return replace(
        result_fields(re_pb2.ActionResult.FromString(stored.result), action),
        written_at=stored.written_at,
        written_by=stored.written_by,
        invocation=stored.invocation,
    )


def outputs_of(result: re_pb2.ActionResult) -> list[Entry]:
    """Files, directories and symlinks that an action made, sorted by path.

    The digest of a directory is that of its Tree, or of its root Directory if there is no Tree.
    """
    found = [
        Entry(f.path, FILE, text_of(f.digest), f.digest.size_bytes, f.is_executable)
        for f in result.output_files
    ]
    for directory in result.output_directories:
        has_tree = directory.HasField("tree_digest")
        digest = directory.tree_digest if has_tree else directory.root_directory_digest
        found.append(Entry(directory.path, DIRECTORY, text_of(digest), digest.size_bytes))
    links = (
        *result.output_symlinks,
        *result.output_file_symlinks,
        *result.output_directory_symlinks,
    )
    found += {link.path: Entry(link.path, LINK, target=link.target) for link in links}.values()
    return sorted(found, key=lambda entry: entry.path)


def text_of(digest: re_pb2.Digest) -> str:
    return f"{digest.hash}/{digest.size_bytes}"


def _stream(raw: bytes, digest: re_pb2.Digest, action: Digest) -> str:
    if digest.hash:
        return text_of(digest)
    return str(digest_of(raw, action.function)) if raw else ""


def _seconds(duration: Duration) -> float:
    return duration.seconds + duration.nanos / 1e9


def _moment(stamp: Timestamp) -> float:
    return stamp.seconds + stamp.nanos / 1e9


def _between(start: Timestamp, end: Timestamp) -> float:
    """Seconds between two times; 0 if one of them is not known."""
    return max(0.0, _moment(end) - _moment(start)) if start.seconds and end.seconds else 0.0
