"""Makes a job from an action's digest: reads and checks the Action and the Command."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Final, ParamSpec, TypeVar

from reapi_local.clock import Clock
from reapi_local.context import Context
from reapi_local.errors import InvalidRequest, MissingInputs
from reapi_local.execute.clients.profile import ClientProfile
from reapi_local.execute.clients.selection import profile_of
from reapi_local.execute.job import Job
from reapi_local.execute.local.inputs.input_roots import InputRoots
from reapi_local.execute.local.policy import Policy
from reapi_local.protocol.command import ParsedAction, ParsedCommand, parse_action, parse_command
from reapi_local.protocol.digest import Digest
from reapi_local.store.blob_store import BlobStore
from reapi_local.threads import in_thread

_P = ParamSpec("_P")
_T = TypeVar("_T")

_MAX_MESSAGE_BYTES: Final = 8 * 1024 * 1024
"""No program takes more in its arguments and variables. Queued messages are kept in memory."""

_MAX_ON_LOOP_BYTES: Final = 64 * 1024


class ActionResolver:
    """Makes jobs."""

    def __init__(
        self, blobs: BlobStore, input_roots: InputRoots, policy: Policy, clock: Clock
    ) -> None:
        self._blobs, self._input_roots = blobs, input_roots
        self._policy, self._clock = policy, clock

    async def resolve(self, context: Context, digest: Digest) -> Job:
        """The job of this action.

        Raises:
            MissingInputs: the action or its command isn't in the store.
            OtherPlatform: it asks for another operating system or processor.
            InvalidRequest: it is malformed, or asks for something that this server doesn't allow.
        """
        action = parse_action(await self._read(context, digest), digest.function)
        data = await self._read(context, action.command)
        # A check of a hundred thousand paths would block the event loop.
        do = in_thread if len(data) > _MAX_ON_LOOP_BYTES else _at_once
        command = await do(parse_command, data, action.platform)
        self._policy.check_platform(command)
        profile = profile_of(context.metadata)
        directory = await self._wrapped_directory(context, profile, action, command)
        if directory:
            command = await do(command.with_outputs_below, directory)
        return Job(
            context=context,
            digest=digest,
            action=action,
            command=command,
            profile=profile,
            directories=await do(_parents, command),
            timeout=self._policy.timeout(action.timeout),
            size_bytes=digest.size_bytes + len(data),
            queued_at=self._clock.now(),
        )

    async def _read(self, context: Context, digest: Digest) -> bytes:
        if digest.size_bytes > _MAX_MESSAGE_BYTES:
            raise InvalidRequest(
                f"{digest} is too large for an Action or a Command: at most "
                f"{_MAX_MESSAGE_BYTES} bytes are accepted"
            )
        data = (await self._blobs.read_many(context, [digest])).get(digest)
        if data is None:
            raise MissingInputs((digest,))
        return data

    async def _wrapped_directory(
        self,
        context: Context,
        profile: ClientProfile,
        action: ParsedAction,
        command: ParsedCommand,
    ) -> str:
        wrapper = profile.wrapper(command)
        if wrapper is None:
            return ""
        script = await self._input_roots.read_file(context, action.input_root, wrapper)
        return profile.wrapped_directory(script or b"")


async def _at_once(function: Callable[_P, _T], *args: _P.args, **kwargs: _P.kwargs) -> _T:
    return function(*args, **kwargs)


def _parents(command: ParsedCommand) -> tuple[str, ...]:
    """The directories that outputs go into, relative to the input root."""
    return tuple(sorted({os.path.dirname(output.place) for output in command.outputs} - {""}))
