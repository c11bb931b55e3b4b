"""The ActionCache service: the results of actions that ran before."""

from __future__ import annotations

from typing import Final

from reapi_local.clock import Clock
from reapi_local.context import Context
from reapi_local.errors import InvalidRequest, ResultNotFound
from reapi_local.proto import remote_execution_pb2 as re_pb2
from reapi_local.protocol.command import parse_action, working_directory_of
from reapi_local.protocol.digest import Digest, parse_digest
from reapi_local.protocol.lookup import Miss, StoredResult
from reapi_local.protocol.tree import check_places, check_result, leaves_working_directory
from reapi_local.store.action_cache import ActionCache
from reapi_local.store.blob_store import BlobStore

_MAX_COMMAND_BYTES: Final = 4 * 1024 * 1024
"""A larger one isn't read: no program takes as many arguments."""


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
        return found.stored.result

    async def UpdateActionResult(
        self, request: re_pb2.UpdateActionResultRequest, context: Context
    ) -> re_pb2.ActionResult:
        """Store a result that a client computed. Its blobs may be uploaded before or after it."""
        action = parse_digest(request.action_digest, request.digest_function)
        if not request.HasField("action_result"):
            raise InvalidRequest(f"the update for action {action} has no action_result")
        check_result(request.action_result, action.function)
        if leaves_working_directory(request.action_result):
            directory = await self._working_directory(context, action)
            if directory is not None:
                check_places(request.action_result, directory)
        stored = StoredResult(
            result=request.action_result.SerializeToString(deterministic=True),
            written_at=self._clock.now(),
            written_by=context.principal.name,
            invocation=context.invocation,
        )
        await self._results.put(context, action, stored)
        return request.action_result

    async def _working_directory(self, context: Context, action: Digest) -> str | None:
        """That of the action's command, if the store has both; clients may upload them later."""
        try:
            data = await self._read(context, action)
            command = data and await self._read(
                context, parse_action(data, action.function).command
            )
            return working_directory_of(command) if command else None
        except InvalidRequest:  # some clients have keys that are no actions
            return None

    async def _read(self, context: Context, digest: Digest) -> bytes | None:
        if digest.size_bytes > _MAX_COMMAND_BYTES:
            return None
        return (await self._blobs.read_many(context, [digest])).get(digest)
