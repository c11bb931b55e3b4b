"""What is known about a call in addition to its request. It is made once for each call.

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
"""The tool name of the server's own checks: they are not calls of clients, so not counted."""

_MAX_ID_CHARACTERS: Final = 200
_MAX_NAME_CHARACTERS: Final = 100


class Metadata(NamedTuple):
    """What a client says about a call: its ``RequestMetadata``; "" for each field not set."""

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

    @property
    def description(self) -> str:
        """What the action does and for which target, as far as the client says it."""
        return f"{self.mnemonic} {self.target}".strip()


NO_METADATA: Final = Metadata()


@dataclass(frozen=True, slots=True)
class Context:
    """One call: who makes it, for which instance, and what its client says about it.

    ``raw_metadata``: the undecoded header, b"" for none.
    """

    principal: Principal
    instance: str
    raw_metadata: bytes

    @property
    def metadata(self) -> Metadata:
        return decode_metadata(self.raw_metadata)

    @property
    def invocation(self) -> str:
        """The client's tool invocation id, which leases belong to; "" if the client sends none."""
        return decode_metadata(self.raw_metadata).invocation_id


def is_self_check(raw: bytes) -> bool:
    """Whether a metadata header is of a call with which the server checks itself."""
    return raw != b"" and decode_metadata(raw).tool_name == SELF_CHECK


def raw_metadata(headers: Iterable[tuple[str, str | bytes]]) -> bytes:
    """The metadata header of a call, b"" for none. The newer name has precedence."""
    found = b""
    for name, value in headers:
        if name == METADATA_HEADERS[0] and isinstance(value, bytes):
            return value
        if name == METADATA_HEADERS[1] and isinstance(value, bytes):
            found = value
    return found


@lru_cache(maxsize=1024)
def decode_metadata(raw: bytes) -> Metadata:
    """Decode a metadata header. A malformed header counts as none."""
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
