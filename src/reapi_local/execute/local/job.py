"""From an action's digest to all that is known before it runs: a :class:`Job`."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final, ParamSpec, TypeVar

from reapi_local.errors import InvalidRequest, MissingInputs
from reapi_local.execute.clients import pants
from reapi_local.execute.local.inputs.input_roots import InputRoots
from reapi_local.execute.sandbox.interface import HOME, ProcessSpec, Sandbox
from reapi_local.protocol.command import ParsedAction, ParsedCommand, parse_action, parse_command
from reapi_local.protocol.digest import Digest
from reapi_local.store.types import ActionKey, BlobStore
from reapi_local.threads import in_thread

_P = ParamSpec("_P")
_T = TypeVar("_T")

_DEFAULT_ENVIRONMENT: Final = {
    "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    "HOME": HOME,
}
_NETWORK_PROPERTY: Final = "network"
_MAX_MESSAGE_BYTES: Final = 8 * 1024 * 1024
"""No program takes more in its arguments and variables, and what waits is kept in memory."""

_INLINE_BYTES: Final = 64 * 1024


@dataclass(frozen=True)
class Caller:
    """On whose behalf an action runs: token's holder, the client's run, its name and version."""

    holder: str
    run: str
    tool: str


@dataclass(frozen=True)
class Job:
    """One action, ready to be queued.

    ``spec`` lacks nothing but the layers of the input root. Output paths are relative to
    ``output_directory``. ``timeout`` in seconds. ``follow_links``: deliver what symlinks among
    the outputs lead to. ``size_bytes``: of the Action and the Command, encoded.
    """

    key: ActionKey
    action: ParsedAction
    command: ParsedCommand
    spec: ProcessSpec
    output_directory: str
    timeout: float
    follow_links: bool
    caller: Caller
    size_bytes: int


@dataclass(frozen=True)
class Policy:
    """What this server gives to actions. Times in seconds.

    ``shares_host``: clients run on this machine, so that Pants expects its network.
    """

    default_timeout: float
    longest_timeout: float
    hermetic: bool
    shares_host: bool


class ActionResolver:
    """Makes jobs. ``caches_dir`` has a directory of named caches for each instance, made at first
    use and given to the uid ``owner`` (None = as it is).
    """

    def __init__(
        self,
        blobs: BlobStore,
        input_roots: InputRoots,
        sandbox: Sandbox,
        policy: Policy,
        caches_dir: str,
        owner: int | None,
    ) -> None:
        self._blobs, self._input_roots, self._sandbox = blobs, input_roots, sandbox
        self._policy, self._caches_dir, self._owner = policy, caches_dir, owner

    async def job(self, key: ActionKey, caller: Caller) -> Job:
        """What this action asks for.

        Raises:
            MissingInputs: the action or its command isn't in the store.
            InvalidRequest: it asks for what can't be.
        """
        function = key.action.function
        action = parse_action(await self._read(key.action, caller.run), function)
        data = await self._read(action.command, caller.run)
        # The event loop doesn't wait for the check of a hundred thousand paths.
        do = in_thread if len(data) > _INLINE_BYTES else _at_once
        command = await do(parse_command, data, action.platform)
        timeout = self._timeout(action.timeout)
        directory = command.working_directory
        is_pants = pants.is_pants(caller.tool)
        if is_pants:
            command = await do(pants.with_input_root, command, self._sandbox.root)
            directory = directory or await self._wrapped_directory(action, command, caller.run)
        directories = await do(_parents, command, directory)
        return Job(
            key=key,
            action=action,
            command=command,
            spec=ProcessSpec(
                arguments=command.arguments,
                environment={**_DEFAULT_ENVIRONMENT, **command.environment},
                working_directory=command.working_directory,
                directories=directories,
                network=self._has_network(command.properties, is_pants=is_pants),
                caches=self._caches(key.instance) if is_pants else None,
            ),
            output_directory=directory,
            timeout=timeout,
            follow_links=is_pants,
            caller=caller,
            size_bytes=key.action.size_bytes + len(data),
        )

    async def _read(self, digest: Digest, run: str) -> bytes:
        if digest.size_bytes > _MAX_MESSAGE_BYTES:
            raise InvalidRequest(
                f"{digest} is too large for an Action or a Command: at most "
                f"{_MAX_MESSAGE_BYTES} bytes are taken here"
            )
        data = (await self._blobs.read_many([digest], run)).get(digest)
        if data is None:
            raise MissingInputs((digest,))
        return data

    def _timeout(self, asked: float | None) -> float:
        longest = self._policy.longest_timeout
        if asked is not None and asked > longest:
            raise InvalidRequest(
                f"the action asks for a timeout of {asked:g} seconds, at most {longest:g} are "
                "given here; ask for less, or raise the server's max_action_timeout"
            )
        return min(self._policy.default_timeout, longest) if asked is None else asked

    async def _wrapped_directory(
        self, action: ParsedAction, command: ParsedCommand, run: str
    ) -> str:
        if not pants.uses_wrapper(command):
            return ""
        script = await self._input_roots.read_file(action.input_root, pants.WRAPPER, run)
        return pants.wrapped_directory(script or b"")

    def _has_network(self, properties: Mapping[str, str], *, is_pants: bool) -> bool:
        if self._policy.hermetic:
            return False
        if _NETWORK_PROPERTY in properties:
            return properties[_NETWORK_PROPERTY] == "on"
        return is_pants and self._policy.shares_host

    def _caches(self, instance: str) -> str:
        name = hashlib.sha256(instance.encode()).hexdigest()[:16]
        path = os.path.join(self._caches_dir, name)
        os.makedirs(path, mode=0o700, exist_ok=True)
        if self._owner is not None:
            os.chown(path, self._owner, self._owner)
        return path


async def _at_once(function: Callable[_P, _T], *args: _P.args, **kwargs: _P.kwargs) -> _T:
    return function(*args, **kwargs)


def _parents(command: ParsedCommand, directory: str) -> tuple[str, ...]:
    """The directories that outputs go into, relative to the input root."""
    paths = ("/".join(filter(None, (directory, output.path))) for output in command.outputs)
    return tuple(sorted({os.path.dirname(path) for path in paths} - {""}))
