"""The errors that a caller can meet: one class for each situation, each with its gRPC code.

Only ``rpc`` turns these into gRPC statuses, and it uses only ``code``. Clients such as Pants retry
INTERNAL, UNKNOWN, UNAVAILABLE, RESOURCE_EXHAUSTED, ABORTED and CANCELLED, so an error that the
caller caused must never have one of these codes.
"""

from __future__ import annotations

import logging
import secrets
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
    """The request is invalid, whatever the server holds; sending it again won't help."""

    code = Code.INVALID_ARGUMENT


class DigestMismatch(InvalidRequest):
    """The received bytes don't have the digest that the request gives for them."""


class TooLarge(InvalidRequest):
    """The request exceeds a limit that Capabilities states."""


class PathLeavesRoot(InvalidRequest):
    """A path leads out of the input root."""


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


class ObjectNotFound(ReapiError):
    """Nothing that the server holds has that digest."""

    code = Code.NOT_FOUND


class ResultNotFound(ReapiError):
    """The action cache has no complete result for that action: a cache miss."""

    code = Code.NOT_FOUND


class UploadNotFound(ReapiError):
    """No upload with that resource name is in progress or finished."""

    code = Code.NOT_FOUND


class OperationNotFound(ReapiError):
    """No operation has that name: it never existed, or it ended and was forgotten since."""

    code = Code.NOT_FOUND


class UploadUnderWay(ReapiError):
    """Another call is writing under that name, or was broken off, which isn't noticed yet."""

    code = Code.ABORTED


class InstanceNotFound(InvalidRequest):
    """The server has a fixed list of instances, and this one isn't in it."""


class OffsetOutOfRange(ReapiError):
    """A read starts before the first or after the last byte of the blob."""

    code = Code.OUT_OF_RANGE


class Unsupported(ReapiError):
    """REAPI defines this feature, but this server doesn't offer it; Capabilities says so."""

    code = Code.UNIMPLEMENTED


class StorageFull(ReapiError):
    """The size limit is reached or the disk is full, and nothing can be evicted."""

    code = Code.RESOURCE_EXHAUSTED


class Busy(ReapiError):
    """Too much memory is in use for what is under way; less of it a little later."""

    code = Code.RESOURCE_EXHAUSTED


class Stalled(ReapiError):
    """The client sent nothing for a while, and other calls waited for the place of this one."""

    code = Code.RESOURCE_EXHAUSTED


class QueueFull(ReapiError):
    """The execution queue is full; clients such as Pants retry a little later."""

    code = Code.UNAVAILABLE


class RunNotFound(ReapiError):
    """The journal has no run of that name, or not any more."""

    code = Code.NOT_FOUND

    def __init__(self, run: str) -> None:
        super().__init__(f"no run {run[:200]!r} is known; `reapi-local runs` lists those that are")


class ActionUnknown(ReapiError):
    """The journal has nothing about that action, or not any more."""

    code = Code.NOT_FOUND

    def __init__(self, action: DigestLike) -> None:
        super().__init__(f"nothing is known of an action {action}")


class JournalOff(ReapiError):
    """The question is about the journal, and the server keeps none."""

    code = Code.FAILED_PRECONDITION

    def __init__(self) -> None:
        super().__init__('the server keeps no journal; start it without `journal = "off"`')


class JournalUnavailable(ReapiError):
    """The journal can't be read or written now."""

    code = Code.UNAVAILABLE

    def __init__(self, why: str) -> None:
        super().__init__(f"the journal can't be used now: {why}; the server's log may say more")


class Unauthenticated(ReapiError):
    """The call has no token, or one that this server doesn't know."""

    code = Code.UNAUTHENTICATED


class PermissionDenied(ReapiError):
    """The principal is known, but may not do this."""

    code = Code.PERMISSION_DENIED


class NoSpareToken(ReapiError):
    """The token can't be replaced: the server has used up those that it made when it started."""

    code = Code.FAILED_PRECONDITION


class Draining(ReapiError):
    """The server is stopping: it finishes calls in flight and refuses new ones."""

    code = Code.UNAVAILABLE

    def __init__(self, message: str = "the server is stopping; try again when it is back") -> None:
        super().__init__(message)


class MissingInputs(ReapiError):
    """Inputs of an action aren't in the store: upload ``digests`` and execute it again."""

    code = Code.FAILED_PRECONDITION

    def __init__(self, digests: Sequence[DigestLike]) -> None:
        self.digests = tuple(digests)
        named = ", ".join(map(str, self.digests[:_MAX_NAMED]))
        rest = len(self.digests) - _MAX_NAMED
        more = f" and {rest} more" if rest > 0 else ""
        super().__init__(f"inputs aren't in the store: {named}{more}; upload them and try again")


class BadOutput(ReapiError):
    """An output of the action can't be read, or isn't of the kind that its command declares."""

    code = Code.FAILED_PRECONDITION


class OtherPlatform(ReapiError):
    """The action asks for an operating system or a processor that this machine doesn't have."""

    code = Code.FAILED_PRECONDITION


class SandboxFailed(ReapiError):
    """The sandbox failed, not the action; the next attempt gets a new sandbox."""

    code = Code.UNAVAILABLE


class ActionTimedOut(ReapiError):
    """The action ran longer than its timeout and was killed."""

    code = Code.DEADLINE_EXCEEDED


class ActionCancelled(ReapiError):
    """The last client waiting for the action cancelled it or disconnected."""

    code = Code.CANCELLED


class Unexpected(ReapiError):
    """An error that no code expects. Clients are told only where the log has it."""

    code = Code.INTERNAL


def unexpected(error: Exception, what: str, log: logging.Logger) -> Unexpected:
    """Log ``error``, with which ``what`` failed; returns the error for the client."""
    reference = secrets.token_hex(4)
    log.error("%s failed (%s)", what, reference, exc_info=error)
    return Unexpected(f"the server failed unexpectedly; its log says why under {reference}")
