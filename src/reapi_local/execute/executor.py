"""The contract of executors: what a service may ask of anything that executes actions.

The engine of this machine is one; another server, or workers on other machines, may be others.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from dataclasses import dataclass
from typing import Protocol

from reapi_contract.admin_api import ExecutionStatus
from reapi_local.context import Context
from reapi_local.execute.inline import NOTHING, Inline
from reapi_local.proto import remote_execution_pb2 as re_pb2
from reapi_local.protocol.digest import Digest


@dataclass(frozen=True)
class ExecuteRequest:
    """What a client asks for, beside its context."""

    action: Digest
    priority: int = 0
    skip_cache_lookup: bool = False
    inline: Inline = NOTHING


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

        When the caller goes away the action goes on for a grace period, for :meth:`wait`.

        Raises:
            InvalidRequest: the action can't be right.
            QueueFull, Draining: not now.
        """

    def wait(self, context: Context, name: str) -> AsyncGenerator[OperationState, None]:
        """Watch an operation from its state now to its end.

        Raises:
            OperationNotFound: none of that name is known, or not any more. A client that expects
                another error is told that one.
        """

    async def get(self, context: Context, name: str) -> OperationState:
        """An operation's state; raises OperationNotFound."""

    async def list(self, context: Context, *, all_instances: bool) -> list[OperationState]:
        """Operations in the order they came, those that ended a while ago included."""

    async def cancel(self, context: Context, name: str) -> None:
        """End an operation; its action goes on while others wait for it.

        Raises:
            OperationNotFound: there is none of that name.
        """

    async def forget(self, context: Context, name: str) -> None:
        """Forget an operation once it has ended; raises OperationNotFound."""

    async def describe(self) -> ExecutionStatus:
        """Whether and how actions are executed here."""

    def drain(self) -> None:
        """Start no more actions. Those that execute go on."""

    async def close(self) -> None:
        """End all actions, wait for their ends, and release all resources."""
