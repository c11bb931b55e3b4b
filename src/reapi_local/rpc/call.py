"""What is known of a call beside its request: who calls, and on behalf of which run.

Source: REAPI v2, message ``RequestMetadata``, sent as a binary header under two names.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from google.protobuf.message import DecodeError

from reapi_local.proto import remote_execution_pb2 as re_pb2

METADATA_HEADERS: Final = (
    "build.bazel.remote.execution.v2.requestmetadata-bin",
    "google.devtools.remoteexecution.v1test.requestmetadata-bin",  # what Pants sends
)


@dataclass(frozen=True)
class Run:
    """A client's invocation; "" where it doesn't say. ``tool`` is its name and version."""

    id: str = ""
    tool: str = ""


@dataclass(frozen=True)
class Call:
    """One call. ``caller`` says whose token it came with."""

    caller: str
    run: Run


def run_from(headers: Iterable[tuple[str, str | bytes]]) -> Run:
    """The run a call belongs to. A header that can't be read counts as none."""
    for name, value in headers:
        if name in METADATA_HEADERS and isinstance(value, bytes):
            return _parse(value)
    return Run()


@lru_cache(maxsize=1024)
def _parse(serialized: bytes) -> Run:
    try:
        metadata = re_pb2.RequestMetadata.FromString(serialized)
    except DecodeError:
        return Run()
    tool = metadata.tool_details
    name = f"{tool.tool_name} {tool.tool_version}".strip()
    return Run(metadata.tool_invocation_id[:200], name[:100])
