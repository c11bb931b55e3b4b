"""The ActionCache service: the results of actions that ran before."""

from __future__ import annotations

from collections.abc import Sequence

from reapi_local.clock import Clock
from reapi_local.context import Context
from reapi_local.errors import DigestMismatch, InvalidRequest, ResultNotFound
from reapi_local.execute.inline_request import InlineRequest
from reapi_local.proto import remote_execution_pb2 as re_pb2
from reapi_local.protocol.digest import DigestFunction, digest_of, parse_digest
from reapi_local.protocol.inline_contents import InlineBlob, take_inline
from reapi_local.protocol.lookup import Miss, StoredResult
from reapi_local.protocol.tree import check_result
from reapi_local.store.action_cache import ActionCache
from reapi_local.store.blob_store import BlobStore
from reapi_local.threads import in_thread_if_long


class ActionCacheService:
    """REAPI v2, service ActionCache. A result is sent as the bytes that were stored."""

    def __init__(self, results: ActionCache, blobs: BlobStore, clock: Clock) -> None:
        self._results, self._blobs, self._clock = results, blobs, clock

    async def GetActionResult(
        self, request: re_pb2.GetActionResultRequest, context: Context
    ) -> re_pb2.ActionResult | bytes:
        """The result, if every blob that it reaches can be read.

        Raises:
            ResultNotFound: a cache miss.
        """
        action = parse_digest(request.action_digest, request.digest_function)
        found = await self._results.get(context, action)
        if isinstance(found, Miss):
            raise ResultNotFound(f"no result is cached for action {action}")
        if not (request.inline_stdout or request.inline_stderr or request.inline_output_files):
            return found.stored.result
        inline = InlineRequest(
            request.inline_stdout, request.inline_stderr, frozenset(request.inline_output_files)
        )
        filled = await inline.fill(context, found.result, self._blobs, action.function)
        return found.stored.result if filled is found.result else filled

    async def UpdateActionResult(
        self, request: re_pb2.UpdateActionResultRequest, context: Context
    ) -> re_pb2.ActionResult:
        """Store a result that a client computed. Its blobs may be uploaded before or after it.

        Contents within it are stored as blobs, too, because many clients read blobs only.

        Raises:
            InvalidRequest: the result is malformed, or a content doesn't have its digest.
            StorageFull: no space.
        """
        action = parse_digest(request.action_digest, request.digest_function)
        if not request.HasField("action_result"):
            raise InvalidRequest(f"the update for action {action} has no action_result")
        result = request.action_result
        serialized, inline = await in_thread_if_long(
            request.ByteSize(), _prepared, result, action.function
        )
        await self._store_inline(context, inline)
        stored = StoredResult(
            result=serialized,
            written_at=self._clock.now(),
            written_by=context.principal.name,
            invocation=context.invocation,
        )
        await self._results.put(context, action, stored)
        return result

    async def _store_inline(self, context: Context, inline: Sequence[InlineBlob]) -> None:
        if not inline:
            return
        blobs = [(digest, data) for _, digest, data in inline]
        failures = await self._blobs.write_many(context, blobs)
        for place, digest, data in inline:
            error = failures.get(digest)
            if isinstance(error, DigestMismatch):
                if digest_of(data, digest.function) != digest:
                    raise DigestMismatch(f"{place}: {error}")
            elif error is not None:
                raise error


def _prepared(
    result: re_pb2.ActionResult, function: DigestFunction
) -> tuple[bytes, list[InlineBlob]]:
    """The result as it is to be stored, and the contents that were or are within it."""
    inline = take_inline(result, function)
    check_result(result, function)
    return result.SerializeToString(deterministic=True), inline
