"""The ActionCache service: the results of actions that ran before."""

from __future__ import annotations

from reapi_local.access.instances import Instances
from reapi_local.clock import Clock
from reapi_local.errors import InvalidRequest, ResultNotFound
from reapi_local.observe.tally import Lookup, Tally
from reapi_local.proto import remote_execution_pb2 as re_pb2
from reapi_local.protocol.digest import parse_digest
from reapi_local.protocol.tree import check_result
from reapi_local.rpc.call import Call
from reapi_local.store.types import ActionCache, ActionKey, StoredResult


class ActionCacheService:
    """REAPI v2, service ActionCache. Results travel as the bytes they came in."""

    def __init__(
        self, results: ActionCache, instances: Instances, tally: Tally, clock: Clock
    ) -> None:
        self._results, self._instances = results, instances
        self._tally, self._clock = tally, clock

    async def GetActionResult(
        self, request: re_pb2.GetActionResultRequest, call: Call
    ) -> re_pb2.ActionResult | bytes:
        """The result, if all it reaches can be read.

        Raises:
            ResultNotFound: a cache miss.
        """
        instance = self._instances.admit(request.instance_name)
        action = parse_digest(request.action_digest, request.digest_function)
        stored = await self._results.get(ActionKey(instance, action), call.run.id)
        outcome = Lookup.HIT if stored else Lookup.MISS
        self._tally.count_lookup(instance, outcome, call.run.id, call.run.tool)
        if stored is None:
            raise ResultNotFound(f"no result is cached for action {action}")
        return stored.result

    async def UpdateActionResult(
        self, request: re_pb2.UpdateActionResultRequest, call: Call
    ) -> re_pb2.ActionResult:
        """Keep a result a client computed. Its blobs may come before or after it."""
        instance = self._instances.admit(request.instance_name)
        action = parse_digest(request.action_digest, request.digest_function)
        if not request.HasField("action_result"):
            raise InvalidRequest(f"the update for action {action} brings no action_result")
        check_result(request.action_result, action.function)
        stored = StoredResult(
            result=request.action_result.SerializeToString(deterministic=True),
            written_at=self._clock.now(),
            written_by=call.caller,
            run=call.run.id,
        )
        await self._results.put(ActionKey(instance, action), stored)
        self._tally.count_lookup(instance, Lookup.WRITE, call.run.id, call.run.tool)
        return request.action_result
