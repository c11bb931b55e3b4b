"""Stands for an executor that is still being started; callers wait for it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing
from dataclasses import dataclass

from reapi_contract.admin_api import ExecutionStatus
from reapi_local.context import Context
from reapi_local.errors import Unsupported
from reapi_local.execute.executor import ExecuteRequest, Executor, OperationState

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Unavailable:
    """No executor could be started. ``status.reasons``: each names a cause and its cure."""

    status: ExecutionStatus


StartOutcome = Executor | Unavailable


class DeferredExecutor:
    """Starts an executor in the background. Each call waits for the start, then goes to it."""

    def __init__(self, start: Callable[[], Awaitable[StartOutcome]]) -> None:
        self._starting = asyncio.ensure_future(self._start(start))

    async def execute(
        self, context: Context, request: ExecuteRequest
    ) -> AsyncGenerator[OperationState, None]:
        executor = await self._executor()
        async with aclosing(executor.execute(context, request)) as states:
            async for state in states:
                yield state

    async def wait(self, context: Context, name: str) -> AsyncGenerator[OperationState, None]:
        executor = await self._executor()
        async with aclosing(executor.wait(context, name)) as states:
            async for state in states:
                yield state

    async def get(self, context: Context, name: str) -> OperationState:
        return await (await self._executor()).get(context, name)

    async def list(self, context: Context, *, all_instances: bool) -> list[OperationState]:
        return await (await self._executor()).list(context, all_instances=all_instances)

    async def cancel(self, context: Context, name: str) -> None:
        await (await self._executor()).cancel(context, name)

    async def forget(self, context: Context, name: str) -> None:
        await (await self._executor()).forget(context, name)

    async def describe(self) -> ExecutionStatus:
        started = await asyncio.shield(self._starting)
        return started.status if isinstance(started, Unavailable) else await started.describe()

    def drain(self) -> None:
        started = self._started()
        if started is not None:
            started.drain()

    async def close(self) -> None:
        """Cancel the start if it is still under way, else close the executor."""
        self._starting.cancel()
        await asyncio.wait([self._starting])
        started = self._started()
        if started is not None:
            await started.close()

    def _started(self) -> Executor | None:
        """The executor, unless it is still being started, or could not be started."""
        if not self._starting.done() or self._starting.cancelled():
            return None
        outcome = self._starting.result()
        return None if isinstance(outcome, Unavailable) else outcome

    async def _executor(self) -> Executor:
        started = await asyncio.shield(self._starting)
        if isinstance(started, Unavailable):
            reasons = " ".join(started.status.reasons)
            raise Unsupported(f"this server executes no actions: {reasons}")
        return started

    async def _start(self, start: Callable[[], Awaitable[StartOutcome]]) -> StartOutcome:
        try:
            return await start()
        except Exception as error:
            _log.exception("execution could not be set up")
            return Unavailable(ExecutionStatus(reasons=(f"Setting it up failed: {error}.",)))
