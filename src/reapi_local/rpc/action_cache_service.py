"""The ActionCache service: the results of actions that ran before."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from reapi_local.clock import Clock
from reapi_local.context import Context
from reapi_local.errors import DigestMismatch, InvalidRequest, ResultNotFound
from reapi_local.execute.inline_request import InlineRequest
from reapi_local.proto import remote_execution_pb2 as re_pb2
from reapi_local.protocol.command import parse_action, working_directory_of
from reapi_local.protocol.digest import Digest, DigestFunction, digest_of, parse_action_digest
from reapi_local.protocol.inline_contents import InlineBlob, take_inline
from reapi_local.protocol.lookup import Miss, StoredResult
from reapi_local.protocol.tree import check_places, check_result, leaves_working_directory
from reapi_local.store.action_cache import ActionCache
from reapi_local.store.blob_store import BlobStore
from reapi_local.threads import in_thread_if_long

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
        action = parse_action_digest(request.action_digest, request.digest_function)
        found = await self._results.get(context, action)
        if isinstance(found, Miss):
            raise ResultNotFound(f"no result is cached for action {action.hash_hex}")
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
        action = parse_action_digest(request.action_digest, request.digest_function)
        if not request.HasField("action_result"):
            raise InvalidRequest(f"the update for action {action} has no action_result")
        result, length = request.action_result, request.ByteSize()
        inline, leaves = await in_thread_if_long(length, _examined, result, action.function)
        if leaves:
            directory = await self._working_directory(context, action)
            if directory is not None:
                await in_thread_if_long(length, check_places, result, directory)
        await self._store_inline(context, inline)
        stored = StoredResult(
            result=result.SerializeToString(deterministic=True),
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


def _examined(
    result: re_pb2.ActionResult, function: DigestFunction
) -> tuple[list[InlineBlob], bool]:
    """The contents within a result, and whether its outputs leave the working directory."""
    inline = take_inline(result, function)
    check_result(result, function)
    return inline, leaves_working_directory(result)
