"""The ActionCache service: the results of actions that ran before."""

from __future__ import annotations

from reapi_local.clock import Clock
from reapi_local.context import Context
from reapi_local.errors import InvalidRequest, ResultNotFound
from reapi_local.proto import remote_execution_pb2 as re_pb2
from reapi_local.protocol.digest import parse_digest
from reapi_local.protocol.lookup import Miss, StoredResult
from reapi_local.protocol.tree import check_result
from reapi_local.store.action_cache import ActionCache


class ActionCacheService:
    """REAPI v2, service ActionCache. A result is sent as the bytes that were stored."""

    def __init__(self, results: ActionCache, clock: Clock) -> None:
        self._results, self._clock = results, clock

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
        return found.stored.result

    async def UpdateActionResult(
        self, request: re_pb2.UpdateActionResultRequest, context: Context
    ) -> re_pb2.ActionResult:
        """Store a result that a client computed. Its blobs may be uploaded before or after it."""
        action = parse_digest(request.action_digest, request.digest_function)
        if not request.HasField("action_result"):
            raise InvalidRequest(f"the update for action {action} has no action_result")
        check_result(request.action_result, action.function)
        stored = StoredResult(
            result=request.action_result.SerializeToString(deterministic=True),
            written_at=self._clock.now(),
            written_by=context.principal.name,
            invocation=context.invocation,
        )
        await self._results.put(context, action, stored)
        return request.action_result
