"""What the journal keeps of an action result."""

from __future__ import annotations

from typing import Final, NamedTuple

from reapi_local.proto import remote_execution_pb2 as re_pb2
from reapi_local.protocol.digest import Digest, DigestFunction, parse_digest

MAX_COUNT: Final = 1 << 40
"""The most bytes or milliseconds of one result: clients say what they like, and they are summed."""


class ResultFacts(NamedTuple):
    """``output_bytes``: files, standard output and error, without what is in Trees.

    ``ran_ms``: how long the process ran, 0 if the result doesn't say.
    """

    exit_code: int
    output_bytes: int
    trees: tuple[Digest, ...]
    ran_ms: int


def facts_of(result: bytes, function: DigestFunction) -> ResultFacts:
    """The facts of a serialized ``ActionResult`` that a store has accepted."""
    parsed = re_pb2.ActionResult.FromString(result)
    size = sum(file.digest.size_bytes for file in parsed.output_files)
    size += parsed.stdout_digest.size_bytes or len(parsed.stdout_raw)
    size += parsed.stderr_digest.size_bytes or len(parsed.stderr_raw)
    trees = tuple(
        parse_digest(directory.tree_digest, function)
        for directory in parsed.output_directories
        if directory.HasField("tree_digest")
    )
    return ResultFacts(parsed.exit_code, min(size, MAX_COUNT), trees, _ran_ms(parsed))


def _ran_ms(result: re_pb2.ActionResult) -> int:
    told = result.execution_metadata
    for began, ended in (
        (told.execution_start_timestamp, told.execution_completed_timestamp),
        (told.worker_start_timestamp, told.worker_completed_timestamp),
    ):
        if began.seconds and ended.seconds:
            ran = 1000 * (ended.seconds - began.seconds) + (ended.nanos - began.nanos) // 1_000_000
            return min(max(0, ran), MAX_COUNT)
    return 0
