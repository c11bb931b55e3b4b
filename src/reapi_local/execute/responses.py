"""The response for an execution that ended with an error instead of a result.

Source: REAPI v2, rpc Execute: errors of an action travel within ``ExecuteResponse.status``.
"""

from __future__ import annotations

import logging
from typing import Final

from google.rpc import error_details_pb2, status_pb2

from reapi_local.errors import DigestLike, MissingInputs, ReapiError, unexpected
from reapi_local.proto import remote_execution_pb2 as re_pb2
from reapi_local.protocol.digest import Digest, DigestFunction

_log = logging.getLogger(__name__)
_MAX_VIOLATIONS: Final = 10_000
"""About 1 MiB: gRPC clients accept 4 MiB by default. A retry names the remaining blobs."""


def failed(error: Exception) -> re_pb2.ExecuteResponse:
    """The response for an action that ended with ``error``; unexpected errors are logged."""
    if not isinstance(error, ReapiError):
        error = unexpected(error, "an execution", _log)
    status = status_pb2.Status(code=int(error.code), message=str(error))
    if isinstance(error, MissingInputs):
        status.details.add().Pack(_missing(error))
    return re_pb2.ExecuteResponse(status=status)


def _missing(error: MissingInputs) -> error_details_pb2.PreconditionFailure:
    """One violation for each blob. Pants and Bazel upload blobs only if they get this form."""
    failure = error_details_pb2.PreconditionFailure()
    for blob in error.digests[:_MAX_VIOLATIONS]:
        failure.violations.add(type="MISSING", subject=_subject(blob))
    return failure


def _subject(blob: DigestLike) -> str:
    """The name in ByteStream, with the digest function only if the hash length is ambiguous."""
    if isinstance(blob, Digest) and blob.function is DigestFunction.BLAKE3:
        return f"blobs/blake3/{blob}"
    return f"blobs/{blob}"
