"""The contract of executors: what a service may ask of anything that executes actions.

:class:`LocalExecutor` executes them on this machine. Another executor could forward them to another
server, or to workers on other machines.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from dataclasses import dataclass
from typing import Protocol

from reapi_contract.admin_api import ExecutionStatus
from reapi_local.context import Context
from reapi_local.execute.inline_request import NO_INLINE, InlineRequest
from reapi_local.proto import remote_execution_pb2 as re_pb2
from reapi_local.protocol.digest import Digest


@dataclass(frozen=True)
class ExecuteRequest:
    """What a client asks for, in addition to its context."""

    action: Digest
    priority: int = 0
    skip_cache_lookup: bool = False
    inline: InlineRequest = NO_INLINE


@dataclass(frozen=True)
class OperationState:
    """An operation's state: its stage by REAPI's number, and a response once it is completed."""

    name: str
    action: Digest
    stage: int
    response: re_pb2.ExecuteResponse | None = None


class Executor(Protocol):
    """Executes actions. Operations are those of the context's instance.

    If nothing is executed here, the methods about operations raise Unsupported; the message says
    why.
    """

    def execute(
        self, context: Context, request: ExecuteRequest
    ) -> AsyncGenerator[OperationState, None]:
        """Begin an operation and watch it to its end; the first state comes at once.

        If the caller stops watching, the action goes on for a grace period, in which :meth:`wait`
        can watch it again.

        Raises:
            InvalidRequest: the action is malformed, or asks for something that isn't allowed.
            QueueFull, Draining: the action isn't accepted now.
        """

    def wait(self, context: Context, name: str) -> AsyncGenerator[OperationState, None]:
        """Watch an operation from its state now to its end.

        Raises:
            OperationNotFound: there is no operation of this name, or not any more. Client profiles
                may replace this error.
        """

    async def get(self, context: Context, name: str) -> OperationState:
        """An operation's state; raises OperationNotFound."""

    async def list(self, context: Context, *, all_instances: bool) -> list[OperationState]:
        """All operations in the order they came, including recently completed ones."""

    async def cancel(self, context: Context, name: str) -> None:
        """End an operation. Its action goes on if other operations share it.

        Raises:
            OperationNotFound: there is no operation of this name.
        """

    async def forget(self, context: Context, name: str) -> None:
        """Forget an operation as soon as it has ended; raises OperationNotFound."""

    async def describe(self) -> ExecutionStatus:
        """Whether and how actions are executed here."""

    def drain(self) -> None:
        """Start no more actions. Those that execute go on."""

    async def close(self) -> None:
        """End all actions, wait for their ends, and release all resources."""
