"""Executions from a client's request to its response: the scheduler's driver.

The scheduler decides, this carries out: starts and stops jobs, keeps its time, tells watchers.
"""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncGenerator, Iterable
from contextlib import aclosing
from dataclasses import dataclass, replace
from math import inf
from typing import Final

from reapi_local.clock import Clock
from reapi_local.errors import (
    ActionCancelled,
    ActionTimedOut,
    Draining,
    MissingInputs,
    ReapiError,
)
from reapi_local.execute.inline import NOTHING, Inline
from reapi_local.execute.local.job import ActionResolver, Caller, Job
from reapi_local.execute.local.runner import Runner, Stop
from reapi_local.execute.queue.operation_table import Operation, Reason, Stage, Task
from reapi_local.execute.queue.scheduler import Effect, Kill, Notify, Scheduler, Start
from reapi_local.execute.responses import failed
from reapi_local.execute.sandbox.interface import SandboxError
from reapi_local.observe.tally import SELF_CHECK, ExecutionCount, Tally
from reapi_local.proto import remote_execution_pb2 as re_pb2
from reapi_local.protocol.digest import Digest
from reapi_local.store.types import ActionCache, ActionKey, BlobStore

_CACHE_CHECK: Final = 1
_ATTEMPTS: Final = 2


@dataclass(frozen=True)
class Request:
    """A client's call to execute an action."""

    key: ActionKey
    caller: Caller
    priority: int = 0
    skip_cache_lookup: bool = False
    inline: Inline = NOTHING


@dataclass(frozen=True)
class Update:
    """An operation's state: its stage by REAPI's number, and once it is completed a response."""

    name: str
    action: Digest
    stage: int
    response: re_pb2.ExecuteResponse | None = None


@dataclass(frozen=True)
class _Queued:
    """A job and when it was queued, in seconds since the epoch."""

    job: Job
    at: float


class Engine:
    """Executes actions. Everything here happens on the event loop."""

    def __init__(
        self,
        scheduler: Scheduler,
        preparation: ActionResolver,
        runner: Runner,
        results: ActionCache,
        blobs: BlobStore,
        clock: Clock,
        tally: Tally,
    ) -> None:
        self._scheduler, self._preparation, self._runner = scheduler, preparation, runner
        self._results, self._blobs, self._clock = results, blobs, clock
        self._tally = tally
        self._running: dict[Task, tuple[asyncio.Task[None], Stop]] = {}
        self._watchers: dict[str, list[asyncio.Queue[Operation]]] = {}
        self._alarm: asyncio.TimerHandle | None = None
        self._alarm_at = inf

    @property
    def executing(self) -> int:
        """How many actions execute now."""
        return len(self._running)

    async def execute(self, request: Request) -> AsyncGenerator[Update, None]:
        """Begin an operation and watch it to its end; the first update comes at once.

        When the caller goes away the action goes on for a grace period, for :meth:`wait`.

        Raises:
            InvalidRequest: the action can't be right.
            QueueFull, Draining: not now.
        """
        key, caller = request.key, request.caller
        name = "/".join(filter(None, (key.instance, "operations", str(uuid.uuid4()))))
        yield Update(name, key.action, _CACHE_CHECK)
        try:
            response = await self._cached(request)
            if response is None:
                self._submit(name, request, await self._preparation.job(key, caller))
        except MissingInputs as error:
            response = failed(error)
        if response is not None:
            update = Update(name, key.action, Stage.COMPLETED, response)
            yield await self._filled(update, request)
            return
        async with aclosing(self._watch(name)) as updates:
            async for update in updates:
                yield await self._filled(update, request)

    async def wait(self, name: str) -> AsyncGenerator[Update, None]:
        """Watch an operation from its state now to its end; raises OperationNotFound."""
        async with aclosing(self._watch(name)) as updates:
            async for update in updates:
                yield update

    def get(self, name: str) -> Update:
        """An operation's state; raises OperationNotFound."""
        return _update(self._scheduler.lookup(name))

    def operations(self, instance: str | None) -> list[Update]:
        """Of one instance or of all, in the order they came, those that ended lately included."""
        return [
            _update(operation)
            for operation in self._scheduler.operations()
            if instance is None or operation.key.instance == instance
        ]

    def cancel(self, name: str) -> None:
        """End an operation; raises OperationNotFound."""
        self._perform(self._scheduler.cancel(name, self._clock.monotonic()))

    def forget(self, name: str) -> None:
        """Forget an operation at its end; raises OperationNotFound."""
        self._scheduler.forget(name)

    def drain(self) -> None:
        """Start nothing more; what executes goes on."""
        self._perform(self._scheduler.drain(self._clock.monotonic()))

    async def close(self) -> None:
        """End what still executes, and wait for that."""
        self.drain()
        for _, stop in self._running.values():
            stop.set(Draining("the server was stopped while the action executed; try again"))
        while self._running:
            await asyncio.wait([running for running, _ in self._running.values()])
        if self._alarm is not None:
            self._alarm.cancel()

    def _submit(self, name: str, request: Request, job: Job) -> None:
        effects = self._scheduler.submit(
            name,
            request.key,
            self._clock.monotonic(),
            run=request.caller.run,
            priority=request.priority,
            timeout=job.timeout,
            mergeable=not job.action.do_not_cache,
            job=_Queued(job, self._clock.now()),
            job_bytes=job.size_bytes,
        )
        self._perform(effects)

    async def _cached(self, request: Request) -> re_pb2.ExecuteResponse | None:
        if request.skip_cache_lookup:
            return None
        stored = await self._results.get(request.key, request.caller.run)
        if stored is None:
            return None
        result = re_pb2.ActionResult.FromString(stored.result)
        self._count(request.key, request.caller).cached += 1
        return re_pb2.ExecuteResponse(result=result, cached_result=True)

    async def _filled(self, update: Update, request: Request) -> Update:
        """The update with the contents that the client wants within it."""
        if update.response is None or not update.response.HasField("result"):
            return update
        function, run = request.key.action.function, request.caller.run
        result = await request.inline.fill(update.response.result, self._blobs, function, run)
        if result is update.response.result:
            return update
        response = re_pb2.ExecuteResponse()
        response.CopyFrom(update.response)  # others watch the same one
        response.result.CopyFrom(result)
        return replace(update, response=response)

    async def _watch(self, name: str) -> AsyncGenerator[Update, None]:
        changes: asyncio.Queue[Operation] = asyncio.Queue()
        operation = self._scheduler.watch(name)
        self._watchers.setdefault(name, []).append(changes)
        try:
            yield _update(operation)
            while operation.stage != Stage.COMPLETED:
                operation = await changes.get()
                yield _update(operation)
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
                stop = Stop()
                running = asyncio.create_task(self._run(effect.task, stop))
                self._running[effect.task] = running, stop
            elif isinstance(effect, Kill):
                self._running[effect.task][1].set(_killed(effect))
        self._set_alarm()

    async def _run(self, task: Task, stop: Stop) -> None:
        queued = task.job
        assert isinstance(queued, _Queued)
        count = self._count(queued.job.key, queued.job.caller)
        try:
            response = await self._attempt(task, queued, stop)
        except Exception as error:
            response = failed(stop.error or error)
        if response.status.code:
            count.failed += 1
        else:
            count.executed += 1
        del self._running[task]
        now, size = self._clock.monotonic(), response.ByteSize()
        self._perform(self._scheduler.finished(task, response, now, size))

    def _count(self, key: ActionKey, caller: Caller) -> ExecutionCount:
        """Where to count; a check of the server's own isn't anybody's execution."""
        is_own = caller.tool == SELF_CHECK
        return ExecutionCount() if is_own else self._tally.execution(key.instance)

    async def _attempt(self, task: Task, queued: _Queued, stop: Stop) -> re_pb2.ExecuteResponse:
        """A sandbox that fails says nothing about the action: it gets another one."""

        def started() -> None:
            self._scheduler.started(task, self._clock.monotonic())
            self._set_alarm()

        def ended() -> None:
            self._perform(self._scheduler.ended(task, self._clock.monotonic()))

        for attempt in range(_ATTEMPTS):
            try:
                return await self._runner.run(queued.job, queued.at, stop, started, ended)
            except SandboxError:
                if attempt + 1 == _ATTEMPTS or stop.error is not None:
                    raise
        raise AssertionError("the last attempt returns or raises")

    def _set_alarm(self) -> None:
        """One that rings too early is left as it is, because that is seldom and costs nothing."""
        now = self._clock.monotonic()
        due = self._scheduler.next_event(now)
        if due is None or due >= self._alarm_at:
            return
        if self._alarm is not None:
            self._alarm.cancel()
        self._alarm = asyncio.get_running_loop().call_later(due - now, self._tick)
        self._alarm_at = due

    def _tick(self) -> None:
        self._alarm, self._alarm_at = None, inf
        self._perform(self._scheduler.tick(self._clock.monotonic()))


def _killed(effect: Kill) -> ReapiError:
    if effect.why is Reason.TIMEOUT:
        return ActionTimedOut(
            f"the action ran longer than its timeout of {effect.task.timeout:g} seconds, and was "
            "killed"
        )
    return _ended(effect.why)


def _ended(reason: Reason) -> ReapiError:
    if reason is Reason.SHUTDOWN:
        return Draining("the server is stopping; try again when it is back")
    if reason is Reason.ABANDONED:
        return ActionCancelled("nobody waited for the action any more, so it was ended")
    return ActionCancelled("the operation was cancelled")


def _update(operation: Operation) -> Update:
    outcome, response = operation.outcome, None
    if isinstance(outcome, re_pb2.ExecuteResponse):
        response = outcome
    elif isinstance(outcome, Reason):
        response = failed(_ended(outcome))
    return Update(operation.name, operation.key.action, operation.stage, response)
