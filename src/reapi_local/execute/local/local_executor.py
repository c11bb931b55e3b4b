"""Executions on this machine, from a client's request to its response: the scheduler's driver.

The scheduler decides. The executor starts and stops jobs, calls the scheduler when it is due, and
tells watchers. All of this runs on the event loop.
"""

from __future__ import annotations

import asyncio
import logging
import uuid
from collections.abc import AsyncGenerator, Callable, Iterable
from contextlib import AsyncExitStack, aclosing
from dataclasses import dataclass, replace
from math import inf
from typing import Final

from reapi_contract.admin_api import ExecutionStatus
from reapi_local.clock import Clock, Timer
from reapi_local.context import Context
from reapi_local.errors import (
    ActionCancelled,
    ActionTimedOut,
    Draining,
    MissingInputs,
    OperationNotFound,
    OtherPlatform,
    ReapiError,
    SandboxFailed,
)
from reapi_local.events import ActionEnded, ActionQueued, ActionStarted, EventStream
from reapi_local.execute.clients.selection import profile_of
from reapi_local.execute.executor import ExecuteRequest, OperationState
from reapi_local.execute.job import Job
from reapi_local.execute.local.resolver import ActionResolver
from reapi_local.execute.local.runner import Runner, StopRequest
from reapi_local.execute.queue.operation_table import EndReason, Operation, Stage, Task
from reapi_local.execute.queue.scheduler import Effect, Kill, Notify, Scheduler, Start
from reapi_local.execute.responses import failed
from reapi_local.execute.sandbox.interface import SandboxError
from reapi_local.proto import remote_execution_pb2 as re_pb2
from reapi_local.protocol.lookup import ActionKey, Miss
from reapi_local.protocol.operation_name import operation_name
from reapi_local.store.action_cache import ActionCache
from reapi_local.store.blob_store import BlobStore

_log = logging.getLogger(__name__)
_CACHE_CHECK: Final = 1
_ATTEMPTS: Final = 2


@dataclass(frozen=True)
class _Running:
    """The asyncio task that carries out a task of the scheduler, and how to end it."""

    asyncio_task: asyncio.Task[None]
    stop: StopRequest


class LocalExecutor:
    """An :class:`~reapi_local.execute.executor.Executor`.

    ``status`` describes it, without the number of executing actions. ``resources`` are closed after
    the last action has ended.
    """

    def __init__(
        self,
        scheduler: Scheduler,
        resolver: ActionResolver,
        runner: Runner,
        results: ActionCache,
        blobs: BlobStore,
        clock: Clock,
        events: EventStream,
        status: Callable[[], ExecutionStatus],
        resources: AsyncExitStack,
    ) -> None:
        self._scheduler, self._resolver, self._runner = scheduler, resolver, runner
        self._results, self._blobs, self._clock = results, blobs, clock
        self._events, self._status, self._resources = events, status, resources
        self._running: dict[Task, _Running] = {}
        self._watchers: dict[str, list[asyncio.Queue[Operation]]] = {}
        self._alarm: Timer | None = None
        self._alarm_at = inf

    async def describe(self) -> ExecutionStatus:
        return replace(self._status(), executing=len(self._running))

    async def execute(
        self, context: Context, request: ExecuteRequest
    ) -> AsyncGenerator[OperationState, None]:
        name = operation_name(context.instance, str(uuid.uuid4()))
        yield OperationState(name, request.action, _CACHE_CHECK)
        try:
            response = await self._cached(context, request)
            if response is None:
                job = await self._resolver.resolve(context, request.action)
                self._submit(name, job, request.priority)
        except (MissingInputs, OtherPlatform) as error:
            response = failed(error)
        if response is not None:
            state = OperationState(name, request.action, Stage.COMPLETED, response)
            yield await self._filled(context, state, request)
            return
        async with aclosing(self._watch(context, name)) as states:
            async for state in states:
                yield await self._filled(context, state, request)

    async def wait(self, context: Context, name: str) -> AsyncGenerator[OperationState, None]:
        try:
            async with aclosing(self._watch(context, name)) as states:
                async for state in states:
                    yield state
        except OperationNotFound as error:
            raise profile_of(context.metadata).error_for_unknown_operation(error) from error

    async def get(self, context: Context, name: str) -> OperationState:
        return _state_of(self._find(context, name))

    async def list(self, context: Context, *, all_instances: bool) -> list[OperationState]:
        return [
            _state_of(operation)
            for operation in self._scheduler.operations()
            if all_instances or operation.key.instance == context.instance
        ]

    async def cancel(self, context: Context, name: str) -> None:
        self._find(context, name)
        self._perform(self._scheduler.cancel(name, self._clock.monotonic()))

    async def forget(self, context: Context, name: str) -> None:
        self._find(context, name)
        self._scheduler.forget(name)

    def drain(self) -> None:
        self._perform(self._scheduler.drain(self._clock.monotonic()))

    async def close(self) -> None:
        """End all actions, and wait for their ends."""
        self.drain()
        for running in self._running.values():
            running.stop.request(
                Draining("the server was stopped while the action executed; try again")
            )
        while self._running:
            await asyncio.wait([running.asyncio_task for running in self._running.values()])
        if self._alarm is not None:
            self._alarm.cancel()
        await self._resources.aclose()

    def _find(self, context: Context, name: str) -> Operation:
        """The operation, if it belongs to the context's instance; raises OperationNotFound."""
        operation = self._scheduler.lookup(name)
        if operation.key.instance != context.instance:
            raise OperationNotFound(
                f"there is no operation {name[:300]!r} in instance {context.instance!r}"
            )
        return operation

    def _submit(self, name: str, job: Job, priority: int) -> None:
        context = job.context
        effects = self._scheduler.submit(
            name,
            ActionKey(context.instance, job.digest),
            self._clock.monotonic(),
            invocation=context.invocation,
            priority=priority,
            timeout=job.timeout,
            mergeable=not job.action.do_not_cache,
            job=job,
            job_bytes=job.size_bytes,
        )
        self._events.emit(ActionQueued(context, job.digest, name))
        self._perform(effects)

    async def _cached(
        self, context: Context, request: ExecuteRequest
    ) -> re_pb2.ExecuteResponse | None:
        if request.skip_cache_lookup:
            return None
        found = await self._results.get(context, request.action)
        if isinstance(found, Miss):
            return None
        return re_pb2.ExecuteResponse(result=found.result, cached_result=True)

    async def _filled(
        self, context: Context, state: OperationState, request: ExecuteRequest
    ) -> OperationState:
        """The state with the inlined contents that the client asked for."""
        if state.response is None or not state.response.HasField("result"):
            return state
        plain = state.response.result
        result = await request.inline.fill(context, plain, self._blobs, request.action.function)
        if result is plain:
            return state
        response = re_pb2.ExecuteResponse()
        response.CopyFrom(state.response)  # other watchers share this response
        response.result.CopyFrom(result)
        return replace(state, response=response)

    async def _watch(self, context: Context, name: str) -> AsyncGenerator[OperationState, None]:
        self._find(context, name)
        changes: asyncio.Queue[Operation] = asyncio.Queue()
        operation = self._scheduler.watch(name)
        self._watchers.setdefault(name, []).append(changes)
        try:
            yield _state_of(operation)
            while operation.stage != Stage.COMPLETED:
                operation = await changes.get()
                yield _state_of(operation)
        finally:
            self._watchers[name].remove(changes)
            if not self._watchers[name]:
                del self._watchers[name]
            self._scheduler.unwatch(name, self._clock.monotonic())
            self._set_alarm()

    def _perform(self, effects: Iterable[Effect]) -> None:
        for effect in effects:
            if isinstance(effect, Notify):
                for changes in self._watchers.get(effect.operation.name, ()):
                    changes.put_nowait(effect.operation)
            elif isinstance(effect, Start):
                self._start(effect.task)
            elif isinstance(effect, Kill):
                self._running[effect.task].stop.request(_killed(effect))
        self._set_alarm()

    def _start(self, task: Task) -> None:
        job, stop = task.job, StopRequest()
        assert job is not None, "a task has its job until it is completed"
        waited = self._clock.now() - job.queued_at
        self._events.emit(ActionStarted(job.context, job.digest, max(0.0, waited)))
        self._running[task] = _Running(asyncio.create_task(self._run(task, job, stop)), stop)

    async def _run(self, task: Task, job: Job, stop: StopRequest) -> None:
        began = self._clock.monotonic()
        try:
            response = await self._attempt(task, job, stop)
        except Exception as error:
            response = failed(stop.error or error)
        del self._running[task]
        now, size = self._clock.monotonic(), response.ByteSize()
        code, exit_code = response.status.code, response.result.exit_code
        self._events.emit(ActionEnded(job.context, job.digest, code, exit_code, now - began))
        self._perform(self._scheduler.task_completed(task, response, now, size))

    async def _attempt(self, task: Task, job: Job, stop: StopRequest) -> re_pb2.ExecuteResponse:
        """Run the job. A sandbox failure is not the action's fault, so the action is retried.

        Raises:
            SandboxFailed: the last attempt's sandbox failed, too.
            Exception: as :meth:`Runner.run`; ``stop.error`` replaces it, if set.
        """

        def process_started() -> None:
            self._scheduler.process_started(task, self._clock.monotonic())
            self._set_alarm()

        def process_ended() -> None:
            self._perform(self._scheduler.process_ended(task, self._clock.monotonic()))

        for attempt in range(_ATTEMPTS):
            try:
                return await self._runner.run(job, stop, process_started, process_ended)
            except SandboxError as error:
                if stop.error is not None:
                    raise
                if attempt + 1 == _ATTEMPTS:
                    _log.error("a sandbox failed: %s", error)
                    raise SandboxFailed(f"the sandbox failed: {error}") from error
        raise AssertionError("the last attempt returns or raises")

    def _set_alarm(self) -> None:
        """Have :meth:`_tick` called when the scheduler has something to do.

        An alarm that is set too early isn't moved: that is rare, and its tick does nothing.
        """
        now = self._clock.monotonic()
        due = self._scheduler.next_event(now)
        if due is None or due >= self._alarm_at:
            return
        if self._alarm is not None:
            self._alarm.cancel()
        self._alarm = self._clock.call_later(due - now, self._tick)
        self._alarm_at = due

    def _tick(self) -> None:
        self._alarm, self._alarm_at = None, inf
        self._perform(self._scheduler.tick(self._clock.monotonic()))


def _killed(effect: Kill) -> ReapiError:
    if effect.why is EndReason.TIMEOUT:
        return ActionTimedOut(
            f"the action ran longer than its timeout of {effect.task.timeout:g} seconds, and was "
            "killed"
        )
    return _ended(effect.why)


def _ended(reason: EndReason) -> ReapiError:
    if reason is EndReason.SHUTDOWN:
        return Draining()
    if reason is EndReason.ABANDONED:
        return ActionCancelled("no client waited for the action any more, so it was cancelled")
    return ActionCancelled("the operation was cancelled")


def _state_of(operation: Operation) -> OperationState:
    outcome, response = operation.outcome, None
    if isinstance(outcome, re_pb2.ExecuteResponse):
        response = outcome
    elif isinstance(outcome, EndReason):
        response = failed(_ended(outcome))
    return OperationState(operation.name, operation.key.action, operation.stage, response)
