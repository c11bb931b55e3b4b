"""What can go wrong, as a caller meets it: one class a situation, each with its gRPC code.

Only ``rpc`` turns these into gRPC statuses, and it looks at ``code`` alone. Clients such as Pants
retry INTERNAL, UNKNOWN, UNAVAILABLE, RESOURCE_EXHAUSTED, ABORTED and CANCELLED, so a mistake of
the caller must never carry one of those.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import IntEnum
from typing import ClassVar, Final, Protocol

from google.rpc import code_pb2

_MAX_NAMED: Final = 3


class Code(IntEnum):
    """The status codes in use."""

    OK = code_pb2.OK
    CANCELLED = code_pb2.CANCELLED
    UNKNOWN = code_pb2.UNKNOWN
    INVALID_ARGUMENT = code_pb2.INVALID_ARGUMENT
    DEADLINE_EXCEEDED = code_pb2.DEADLINE_EXCEEDED
    NOT_FOUND = code_pb2.NOT_FOUND
    PERMISSION_DENIED = code_pb2.PERMISSION_DENIED
    RESOURCE_EXHAUSTED = code_pb2.RESOURCE_EXHAUSTED
    FAILED_PRECONDITION = code_pb2.FAILED_PRECONDITION
    ABORTED = code_pb2.ABORTED
    OUT_OF_RANGE = code_pb2.OUT_OF_RANGE
    UNIMPLEMENTED = code_pb2.UNIMPLEMENTED
    INTERNAL = code_pb2.INTERNAL
    UNAVAILABLE = code_pb2.UNAVAILABLE
    UNAUTHENTICATED = code_pb2.UNAUTHENTICATED


class ReapiError(Exception):
    """Base of all errors that reach a client; the message is for a person."""

    code: ClassVar[Code] = Code.INTERNAL


class InvalidRequest(ReapiError):
    """The request can't be right, whatever the server holds; sending it again won't help."""

    code = Code.INVALID_ARGUMENT


class DigestMismatch(InvalidRequest):
    """The bytes received don't have the digest they were announced under."""


class TooLarge(InvalidRequest):
    """The request is over a limit that Capabilities announces."""


class DigestLike(Protocol):
    """The part of a ``Digest`` that a message shows; the class itself is in ``protocol``."""

    @property
    def hash_hex(self) -> str: ...

    @property
    def size_bytes(self) -> int: ...


class BlobNotFound(ReapiError):
    """The store doesn't hold that blob, or held a corrupt copy that is in quarantine now."""

    code = Code.NOT_FOUND

    def __init__(self, digest: DigestLike) -> None:
        super().__init__(f"blob {digest} isn't in the store; upload it")


class ResultNotFound(ReapiError):
    """The action cache has no complete result for that action: a cache miss."""

    code = Code.NOT_FOUND


class UploadNotFound(ReapiError):
    """No upload is under way, or finished, under that resource name."""

    code = Code.NOT_FOUND


class OperationNotFound(ReapiError):
    """No operation has that name: it never was, or it ended and has been forgotten since."""

    code = Code.NOT_FOUND


class UploadUnderWay(ReapiError):
    """Another call is writing under that name, or has broken off and isn't known to have yet."""

    code = Code.ABORTED


class InstanceNotFound(InvalidRequest):
    """The server has a fixed list of instances and this one isn't on it."""


class OffsetOutOfRange(ReapiError):
    """A read starts before the first or after the last byte of the blob."""

    code = Code.OUT_OF_RANGE


class Unsupported(ReapiError):
    """REAPI defines it; this server doesn't offer it, and Capabilities says so."""

    code = Code.UNIMPLEMENTED


class StorageFull(ReapiError):
    """No room: the size limit (or the disk) is reached and nothing may be dropped."""

    code = Code.RESOURCE_EXHAUSTED


class QueueFull(ReapiError):
    """The execution queue is full; clients such as Pants try again a little later."""

    code = Code.UNAVAILABLE


class Unauthenticated(ReapiError):
    """The call carries no token, or not one this server knows."""

    code = Code.UNAUTHENTICATED


class PermissionDenied(ReapiError):
    """The principal is known and may not do this, or not on this instance."""

    code = Code.PERMISSION_DENIED


class Draining(ReapiError):
    """The server is stopping: it finishes what is in flight and takes nothing new."""

    code = Code.UNAVAILABLE

    def __init__(self, message: str = "the server is stopping; try again when it is back") -> None:
        super().__init__(message)


class MissingInputs(ReapiError):
    """Blobs an action needs aren't in the store: upload ``digests`` and execute it again."""

    code = Code.FAILED_PRECONDITION

    def __init__(self, digests: Sequence[DigestLike]) -> None:
        self.digests = tuple(digests)
        named = ", ".join(map(str, self.digests[:_MAX_NAMED]))
        rest = len(self.digests) - _MAX_NAMED
        more = f" and {rest} more" if rest > 0 else ""
        super().__init__(f"inputs aren't in the store: {named}{more}; upload them and try again")


class BadOutput(ReapiError):
    """The action left an output of another kind than its command declares, or an unreadable one."""

    code = Code.FAILED_PRECONDITION


class SandboxFailed(ReapiError):
    """The sandbox failed, not the action; the next attempt gets a new sandbox."""

    code = Code.UNAVAILABLE


class ActionTimedOut(ReapiError):
    """The action ran longer than its timeout, and was killed."""

    code = Code.DEADLINE_EXCEEDED


class ActionCancelled(ReapiError):
    """Its client, the last one of several, cancelled the action or went away."""

    code = Code.CANCELLED
