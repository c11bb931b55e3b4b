"""Executions from request to response, and what becomes due: on a clock that stands still."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import AsyncExitStack, aclosing, asynccontextmanager
from pathlib import Path
from typing import Any, cast

import pytest
from google.protobuf.duration_pb2 import Duration

from contexts import context
from execute.stored_actions import MIB, USUAL, World
from reapi_contract.admin_api import ExecutionStatus
from reapi_local.clock import ManualClock
from reapi_local.context import Context
from reapi_local.errors import Code, Draining, OperationNotFound, ReapiError
from reapi_local.events import ActionEnded, ActionQueued, ActionStarted, EventStream
from reapi_local.execute.clients.pants import ExecuteAgain
from reapi_local.execute.executor import ExecuteRequest, OperationState
from reapi_local.execute.inline_request import InlineRequest
from reapi_local.execute.job import Job
from reapi_local.execute.local.inputs.input_roots import InputRoots
from reapi_local.execute.local.local_executor import LocalExecutor
from reapi_local.execute.local.resolver import ActionResolver
from reapi_local.execute.local.runner import Runner, StopRequest
from reapi_local.execute.queue.operation_table import Stage
from reapi_local.execute.queue.scheduler import Scheduler
from reapi_local.execute.sandbox.interface import SandboxError
from reapi_local.proto import remote_execution_pb2 as re_pb2
from reapi_local.protocol.digest import Digest, digest_of
from reapi_local.protocol.lookup import StoredResult
from reapi_local.store.memory import MemoryActionCache
from store.helpers import until

GRACE, KEEP = 10.0, 600.0
CACHE_CHECK = 1
ME = context("run", "main", "bazel")
Updates = AsyncGenerator[OperationState, None]


class ManualRunner:
    """Runs nothing: a job goes on until it is stopped, or a test ends it."""

    def __init__(self) -> None:
        self.running: dict[Digest, asyncio.Future[re_pb2.ExecuteResponse]] = {}
        self.jobs: list[Job] = []

    async def run(
        self, job: Job, stop: StopRequest, started: Callable[[], None], ended: Callable[[], None]
    ) -> re_pb2.ExecuteResponse:
        self.jobs.append(job)
        future: asyncio.Future[re_pb2.ExecuteResponse]
        future = self.running[job.digest] = asyncio.get_running_loop().create_future()
        started()
        stopping = asyncio.ensure_future(stop.event.wait())
        await asyncio.wait((future, stopping), return_when=asyncio.FIRST_COMPLETED)
        stopping.cancel()
        del self.running[job.digest]
        stop.raise_if_requested()
        response = await future
        ended()
        return response

    def end(self, action: Digest, exit_code: int = 0) -> None:
        result = re_pb2.ActionResult(exit_code=exit_code)
        self.running[action].set_result(re_pb2.ExecuteResponse(result=result))

    def fail(self, action: Digest, error: Exception) -> None:
        self.running[action].set_exception(error)


class Server:
    """An executor and all that it is made of."""

    def __init__(self, directory: Path, slots: int) -> None:
        self.world, self.clock, self.runner = World(directory), ManualClock(), ManualRunner()
        self.events = list[object]()
        stream = EventStream()
        for kind in (ActionQueued, ActionStarted, ActionEnded):
            stream.subscribe(kind, self.events.append)
        self.results, self.resources = MemoryActionCache(), AsyncExitStack()
        blobs = self.world.blobs
        roots = InputRoots(blobs, str(directory / "inputs"), 64 * MIB)
        self.resources.push_async_callback(roots.close)
        self.executor = LocalExecutor(
            Scheduler(slots, unwatched_grace=GRACE, keep_seconds=KEEP),
            ActionResolver(blobs, roots, USUAL, self.clock),
            cast("Runner", self.runner),
            self.results,
            blobs,
            self.clock,
            stream,
            lambda: ExecutionStatus(offered=True, slots=slots),
            self.resources,
        )

    def action(self, number: int = 0, seconds: int = 0, **command: Any) -> Digest:
        timeout = {"timeout": Duration(seconds=seconds)} if seconds else {}
        return self.world.action(action=timeout, arguments=["true", str(number)], **command)

    @asynccontextmanager
    async def executing(self, action: Digest, me: Context = ME) -> AsyncIterator[Updates]:
        """Within the block somebody watches an execution, whose first two updates have come."""
        async with aclosing(self.executor.execute(me, ExecuteRequest(action))) as updates:
            assert (await anext(updates)).stage == CACHE_CHECK
            await anext(updates)
            yield updates

    async def begun(self, action: Digest) -> None:
        """Wait until it runs."""
        await until(lambda: action in self.runner.running)


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[Server]:
    server = Server(tmp_path, slots=1)
    yield server
    await server.executor.close()
    assert server.clock.timers == 0, "an executor that is closed has nothing due"


async def turns() -> None:
    """Let everything happen that is due."""
    for _ in range(20):
        await asyncio.sleep(0)


def status(update: OperationState) -> int:
    assert update.response is not None
    return update.response.status.code


async def test_an_execution_tells_its_stages_and_its_result(server: Server) -> None:
    action = server.action()
    async with aclosing(server.executor.execute(ME, ExecuteRequest(action))) as updates:
        first, second = await anext(updates), await anext(updates)
        assert (first.stage, second.stage) == (CACHE_CHECK, Stage.EXECUTING)
        assert first.name == second.name
        assert first.name.startswith("main/operations/")
        await server.begun(action)
        server.runner.end(action, exit_code=3)
        last = await anext(updates)
        assert (last.stage, last.name) == (Stage.COMPLETED, first.name)
        assert last.response == re_pb2.ExecuteResponse(result=re_pb2.ActionResult(exit_code=3))
        assert [update async for update in updates] == []


async def test_an_action_is_killed_when_its_time_is_over_and_not_before(server: Server) -> None:
    action = server.action(seconds=50)
    async with server.executing(action) as updates:
        await server.begun(action)
        server.clock.advance(49.9)
        await turns()
        assert action in server.runner.running
        server.clock.advance(0.1)
        response = (await anext(updates)).response
    assert response is not None
    assert response.status.code == Code.DEADLINE_EXCEEDED
    assert "timeout of 50 seconds" in response.status.message


async def test_an_action_that_ends_in_time_is_left_alone_by_its_alarm(server: Server) -> None:
    first, second = server.action(1, seconds=50), server.action(2, seconds=500)
    async with server.executing(first) as updates:
        await server.begun(first)
        server.runner.end(first)
        assert status(await anext(updates)) == Code.OK
    async with server.executing(second) as updates:
        await server.begun(second)
        server.clock.advance(499.9)
        await turns()
        assert second in server.runner.running
        server.clock.advance(0.1)
        assert status(await anext(updates)) == Code.DEADLINE_EXCEEDED


async def test_time_before_an_action_has_its_slot_doesn_t_count(server: Server) -> None:
    first, second = server.action(1, seconds=500), server.action(2, seconds=50)
    async with server.executing(first), server.executing(second) as updates:
        await server.begun(first)
        server.clock.advance(400)
        await turns()
        server.runner.end(first)
        await server.begun(second)
        server.clock.advance(49)
        await turns()
        assert second in server.runner.running
        server.clock.advance(1)
        assert (await anext(updates)).stage == Stage.EXECUTING
        assert status(await anext(updates)) == Code.DEADLINE_EXCEEDED


async def test_an_action_that_nobody_watches_is_ended_after_the_grace_period(
    server: Server,
) -> None:
    action = server.action()
    async with server.executing(action):
        await server.begun(action)
        server.clock.advance(GRACE + 1)
        await turns()
        assert action in server.runner.running, "it is watched"
    (operation,) = await server.executor.list(ME, all_instances=False)
    server.clock.advance(GRACE - 0.1)
    await turns()
    assert action in server.runner.running
    server.clock.advance(0.1)
    await until(lambda: not server.runner.running)
    ended = await server.executor.get(ME, operation.name)
    assert ended.stage == Stage.COMPLETED
    assert status(ended) == Code.CANCELLED


async def test_who_comes_back_in_time_finds_the_action_still_executing(server: Server) -> None:
    action = server.action()
    async with server.executing(action):
        await server.begun(action)
    (operation,) = await server.executor.list(ME, all_instances=False)
    server.clock.advance(GRACE - 0.1)
    async with aclosing(server.executor.wait(ME, operation.name)) as updates:
        assert (await anext(updates)).stage == Stage.EXECUTING
        server.clock.advance(3 * GRACE)
        await turns()
        server.runner.end(action)
        assert status(await anext(updates)) == Code.OK


async def test_a_completed_operation_is_remembered_for_a_while(server: Server) -> None:
    action = server.action()
    async with server.executing(action) as updates:
        await server.begun(action)
        server.runner.end(action)
        name = (await anext(updates)).name
    server.clock.advance(KEEP - 0.1)
    assert (await server.executor.get(ME, name)).stage == Stage.COMPLETED
    server.clock.advance(0.1)
    with pytest.raises(OperationNotFound):
        await server.executor.get(ME, name)


async def test_an_operation_is_found_only_in_its_own_instance(server: Server) -> None:
    action, other = server.action(), context("run", "other", "bazel")
    async with server.executing(action) as updates:
        await server.begun(action)
        (mine,) = await server.executor.list(ME, all_instances=False)
        assert await server.executor.list(other, all_instances=False) == []
        assert await server.executor.list(other, all_instances=True) == [mine]
        for call in (server.executor.get, server.executor.cancel, server.executor.forget):
            with pytest.raises(OperationNotFound, match="in instance 'other'"):
                await call(other, mine.name)
        with pytest.raises(OperationNotFound):
            await anext(server.executor.wait(other, mine.name))
        await server.executor.cancel(ME, mine.name)
        assert status(await anext(updates)) == Code.CANCELLED


@pytest.mark.parametrize(("tool", "error"), [("bazel", OperationNotFound), ("pants", ExecuteAgain)])
async def test_who_waits_in_vain_is_told_what_its_client_understands(
    server: Server, tool: str, error: type[ReapiError]
) -> None:
    with pytest.raises(error) as told:
        await anext(server.executor.wait(context(tool=tool), "operations/1"))
    assert type(told.value) is error


async def test_what_happens_to_an_action_is_told_with_its_times(server: Server) -> None:
    first, second, other = server.action(1), server.action(2), context("other run")
    async with server.executing(first) as one, server.executing(second, other) as two:
        await server.begun(first)
        server.clock.advance(3.0)
        server.runner.end(first, exit_code=7)
        names = [(await anext(one)).name, (await anext(two)).name]
        await server.begun(second)
        server.clock.advance(USUAL.default_timeout)
        await anext(two)
    assert server.events == [
        ActionQueued(ME, first, names[0]),
        ActionStarted(ME, first, 0.0),
        ActionQueued(other, second, names[1]),
        ActionStarted(other, second, 3.0),  # while the outputs of the first are stored
        ActionEnded(ME, first, Code.OK, 7, 3.0),
        ActionEnded(other, second, Code.DEADLINE_EXCEEDED, 0, USUAL.default_timeout),
    ]


async def test_a_hit_is_answered_without_an_execution(server: Server) -> None:
    action, out = server.action(), server.world.add(b"out")
    message = re_pb2.ActionResult(exit_code=3, stdout_digest=out)
    stored = StoredResult(message.SerializeToString(), 1.0, "owner", "")
    await server.results.put(ME, action, stored)
    request = ExecuteRequest(action, inline=InlineRequest(stdout=True))
    updates = [update async for update in server.executor.execute(ME, request)]
    assert [update.stage for update in updates] == [CACHE_CHECK, Stage.COMPLETED]
    message.stdout_raw = b"out"
    expected = re_pb2.ExecuteResponse(result=message, cached_result=True)
    assert updates[-1].response == expected
    assert server.events == []

    skipping = ExecuteRequest(action, skip_cache_lookup=True)
    async with aclosing(server.executor.execute(ME, skipping)) as running:
        await anext(running)
        await anext(running)
        await server.begun(action)
        server.runner.end(action)
        last = await anext(running)
    assert last.response == re_pb2.ExecuteResponse(result=re_pb2.ActionResult())


async def test_an_action_that_is_not_there_is_named_in_the_response(server: Server) -> None:
    absent = digest_of(b"absent")
    updates = [u async for u in server.executor.execute(ME, ExecuteRequest(absent))]
    assert [update.stage for update in updates] == [CACHE_CHECK, Stage.COMPLETED]
    assert status(updates[-1]) == Code.FAILED_PRECONDITION


async def test_an_action_whose_sandbox_fails_gets_another_and_its_whole_time(
    server: Server,
) -> None:
    action = server.action(seconds=50)
    async with server.executing(action) as updates:
        await server.begun(action)
        server.clock.advance(49)
        server.runner.fail(action, SandboxError("it broke"))
        await until(lambda: len(server.runner.jobs) == 2)
        server.clock.advance(49)
        await turns()
        assert action in server.runner.running
        server.runner.end(action)
        assert status(await anext(updates)) == Code.OK


async def test_a_sandbox_that_fails_again_ends_the_action(
    server: Server, caplog: pytest.LogCaptureFixture
) -> None:
    action = server.action()
    async with server.executing(action) as updates:
        await server.begun(action)
        server.runner.fail(action, SandboxError("it broke"))
        await until(lambda: len(server.runner.jobs) == 2)
        server.runner.fail(action, SandboxError("it broke"))
        update = await anext(updates)
        assert status(update) == Code.UNAVAILABLE
        assert update.response is not None
        assert "it broke" in update.response.status.message
        assert "it broke" in caplog.text
    assert len(server.runner.jobs) == 2


async def test_draining_ends_what_waits_and_lets_go_on_what_executes(server: Server) -> None:
    first, second = server.action(1), server.action(2)
    async with server.executing(first) as one, server.executing(second) as two:
        await server.begun(first)
        assert (await server.executor.describe()).executing == 1
        server.executor.drain()
        assert status(await anext(two)) == Code.UNAVAILABLE
        with pytest.raises(Draining):
            async with server.executing(server.action(3)):
                pass
        server.runner.end(first)
        assert status(await anext(one)) == Code.OK
    assert (await server.executor.describe()).executing == 0


async def test_closing_stops_what_executes_and_then_closes_the_resources(server: Server) -> None:
    action, order = server.action(), list[str]()
    server.resources.callback(lambda: order.append(f"closed, {len(server.runner.running)} run"))
    async with server.executing(action) as updates:
        await server.begun(action)
        await server.executor.close()
        assert order == ["closed, 0 run"]
        assert status(await anext(updates)) == Code.UNAVAILABLE
