"""What is known of a call beside its request: made once, and passed to whatever serves it.

Source: REAPI v2, message ``RequestMetadata``, sent as a binary header under two names.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from typing import Final, NamedTuple

from google.protobuf.message import DecodeError

from reapi_local.access.principal import Principal
from reapi_local.proto import remote_execution_pb2 as re_pb2

METADATA_HEADERS: Final = (
    "build.bazel.remote.execution.v2.requestmetadata-bin",
    "google.devtools.remoteexecution.v1test.requestmetadata-bin",  # what Pants sends
)

SELF_CHECK: Final = "reapi-local-check"
"""The tool name under which the server calls itself: no client's call, so it isn't counted."""

_MAX_ID_CHARACTERS: Final = 200
_MAX_NAME_CHARACTERS: Final = 100


class Metadata(NamedTuple):
    """What a client says of a call: its ``RequestMetadata``; "" for what it doesn't say."""

    tool_name: str = ""
    tool_version: str = ""
    invocation_id: str = ""
    action_id: str = ""
    correlated_id: str = ""
    mnemonic: str = ""
    target: str = ""
    configuration: str = ""

    @property
    def tool(self) -> str:
        """The tool's name and version."""
        return f"{self.tool_name} {self.tool_version}".strip()


NO_METADATA: Final = Metadata()


@dataclass(frozen=True, slots=True)
class Context:
    """One call: who makes it, for which instance, and what its client says of it.

    ``raw_metadata``: the header as it came, b"" for none. It is decoded when it is read.
    """

    principal: Principal
    instance: str
    raw_metadata: bytes

    @property
    def metadata(self) -> Metadata:
        return decode_metadata(self.raw_metadata)

    @property
    def invocation(self) -> str:
        """The client's tool invocation id, which leases are held for; "" where it sends none."""
        return decode_metadata(self.raw_metadata).invocation_id


def is_self_check(raw: bytes) -> bool:
    """Whether a metadata header is that of a call that the server makes to check itself."""
    return raw != b"" and decode_metadata(raw).tool_name == SELF_CHECK


def raw_metadata(headers: Iterable[tuple[str, str | bytes]]) -> bytes:
    """The metadata header of a call, the newer name before the older one; b"" for none."""
    found = b""
    for name, value in headers:
        if name == METADATA_HEADERS[0] and isinstance(value, bytes):
            return value
        if name == METADATA_HEADERS[1] and isinstance(value, bytes):
            found = value
    return found


@lru_cache(maxsize=1024)
def decode_metadata(raw: bytes) -> Metadata:
    """A metadata header decoded. One that can't be decoded counts as none."""
    if not raw:
        return NO_METADATA
    try:
        message = re_pb2.RequestMetadata.FromString(raw)
    except DecodeError:
        return NO_METADATA
    return Metadata(
        tool_name=message.tool_details.tool_name[:_MAX_NAME_CHARACTERS],
        tool_version=message.tool_details.tool_version[:_MAX_NAME_CHARACTERS],
        invocation_id=message.tool_invocation_id[:_MAX_ID_CHARACTERS],
        action_id=message.action_id[:_MAX_ID_CHARACTERS],
        correlated_id=message.correlated_invocations_id[:_MAX_ID_CHARACTERS],
        mnemonic=message.action_mnemonic[:_MAX_NAME_CHARACTERS],
        target=message.target_id[:_MAX_ID_CHARACTERS],
        configuration=message.configuration_id[:_MAX_ID_CHARACTERS],
    )
