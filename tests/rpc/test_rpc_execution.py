"""The Execution and Operations services: actions are run, shared, waited for and ended."""

from __future__ import annotations

import asyncio
import os
import platform
import re
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import grpc
import pytest
import pytest_asyncio
from google.longrunning.operations_pb2 import (
    CancelOperationRequest,
    DeleteOperationRequest,
    GetOperationRequest,
    ListOperationsRequest,
)
from google.protobuf.duration_pb2 import Duration
from google.protobuf.json_format import MessageToDict
from google.protobuf.struct_pb2 import Struct
from google.rpc import code_pb2
from google.rpc.error_details_pb2 import PreconditionFailure

from reapi_local.clock import ManualClock
from reapi_local.execute.sandbox.interface import ActionLimits, SandboxConfig, SandboxError
from reapi_local.execute.sandbox.slot.slot_sandbox import SlotSandbox
from reapi_local.proto.remote_execution_pb2 import (
    ActionResult,
    Command,
    Digest,
    ExecuteRequest,
    GetActionResultRequest,
    GetCapabilitiesRequest,
    RequestMetadata,
    ToolDetails,
    UpdateActionResultRequest,
    WaitExecutionRequest,
)
from rpc.actions import (
    CACHE_CHECK,
    COMPLETED,
    EXECUTING,
    NETWORK,
    QUEUED,
    Gate,
    Seen,
    action_blobs,
    execute,
    gated,
    make,
    response_of,
    shell,
    stage_of,
    until,
    upload,
)
from rpc.helpers import TRANSPORTS, Client, Server, digest_of, refusal, serving

pytestmark = pytest.mark.asyncio(loop_scope="module")

PANTS_HEADER = "google.devtools.remoteexecution.v1test.requestmetadata-bin"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def worker(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Server]:
    async with serving(tmp_path_factory.mktemp("data"), "grpcio", execution="on") as running:
        yield running


@pytest.fixture
def client(worker: Server) -> Client:
    return worker.client


@pytest_asyncio.fixture(loop_scope="module")
async def gate() -> AsyncIterator[Gate]:
    async with Gate() as made:
        yield made


async def cached(client: Client, action: Digest) -> bool:
    call = client.GetActionResult(GetActionResultRequest(action_digest=action))
    return await call.code() is grpc.StatusCode.OK


def start(client: Client, action: Digest, **request: Any) -> Any:
    return client.Execute(ExecuteRequest(action_digest=action, **request))


class TestOneAction:
    async def test_the_stages_come_in_order_under_one_name(self, client: Client) -> None:
        seen = await execute(client, await shell(client, "echo stages"))
        assert seen.stages == sorted(set(seen.stages))
        assert seen.stages[0] == CACHE_CHECK
        assert seen.stages[-2:] == [EXECUTING, COMPLETED]
        assert {operation.name for operation in seen.operations} == {seen.name}
        assert [operation.done for operation in seen.operations[-2:]] == [False, True]

    async def test_the_first_operation_comes_while_the_action_waits(
        self, client: Client, gate: Gate
    ) -> None:
        stream = start(client, await gated(client, gate))
        await until(stream, EXECUTING)
        visitor = await gate.visitor()
        visitor.let_through()
        await until(stream, COMPLETED)

    async def test_output_and_exit_code_come_back(self, client: Client) -> None:
        seen = await execute(client, await shell(client, "echo out; echo err >&2; exit 3"))
        result = seen.result
        assert result.exit_code == 3
        assert await client.download(result.stdout_digest) == b"out\n"
        assert await client.download(result.stderr_digest) == b"err\n"

    async def test_outputs_of_all_kinds_come_back(self, client: Client) -> None:
        script = "echo 1 >a; mkdir -p d/e f; echo 2 >d/e/g; ln -s a l; echo 3 >made/before"
        outputs = ["a", "d", "l", "made/before", "absent"]
        result = (await execute(client, await shell(client, script, outputs=outputs))).result
        assert {file.path for file in result.output_files} == {"a", "made/before"}
        assert [directory.path for directory in result.output_directories] == ["d"]
        assert [(link.path, link.target) for link in result.output_symlinks] == [("l", "a")]

    async def test_200_mb_of_output_come_back(self, client: Client) -> None:
        script = "head -c 200000000 /dev/zero >zeros"
        result = (await execute(client, await shell(client, script, outputs=["zeros"]))).result
        assert result.output_files[0].digest.size_bytes == 200_000_000
        assert await client.missing(result.output_files[0].digest) == []

    async def test_inputs_are_there_with_their_modes(self, client: Client) -> None:
        action = await make(client, "./tool", files={"tool": "#!/bin/sh\ncat data", "data": "1"})
        result = (await execute(client, action, inline_stdout=True)).result
        assert result.stdout_raw == b"1"

    async def test_contents_come_within_the_result_where_asked_for(self, client: Client) -> None:
        action = await shell(client, "echo a; echo b >&2; echo c >c", outputs=["c"])
        result = (
            await execute(
                client, action, inline_stdout=True, inline_stderr=True, inline_output_files=["c"]
            )
        ).result
        assert (result.stdout_raw, result.stderr_raw) == (b"a\n", b"b\n")
        assert result.output_files[0].contents == b"c\n"
        assert result.stdout_digest == digest_of(b"a\n")

    async def test_the_metadata_tell_what_happened_when(self, client: Client) -> None:
        script = "i=0; while [ $i -lt 20000 ]; do i=$((i+1)); done"
        told = (await execute(client, await shell(client, script))).result.execution_metadata
        times = [
            told.queued_timestamp,
            told.worker_start_timestamp,
            told.input_fetch_start_timestamp,
            told.input_fetch_completed_timestamp,
            told.execution_start_timestamp,
            told.execution_completed_timestamp,
            told.output_upload_start_timestamp,
            told.output_upload_completed_timestamp,
            told.worker_completed_timestamp,
        ]
        assert [time.ToNanoseconds() for time in times] == sorted(
            time.ToNanoseconds() for time in times
        )
        usage = Struct()
        assert told.auxiliary_metadata[0].Unpack(usage)
        used = MessageToDict(usage)
        assert used["user_seconds"] + used["system_seconds"] > 0
        assert used["max_rss_bytes"] > 100_000
        assert told.worker

    async def test_an_action_sees_no_network_unless_its_platform_asks(
        self, client: Client, gate: Gate
    ) -> None:
        blind = await make(client, "/bin/bash", "-c", gate.script)
        assert (await execute(client, blind)).result.exit_code != 0
        assert gate.waiting == 0

    async def test_a_timeout_ends_it_and_keeps_what_it_said(
        self, tmp_path: Path, gate: Gate
    ) -> None:
        clock = ManualClock()
        async with serving(tmp_path, "grpcio", clock, execution="on") as worker:
            client = worker.client
            script = f"echo said; {gate.come}; read -r word <&3"
            timeout = Duration(seconds=7, nanos=200_000_000)
            action = await make(
                client, "/bin/bash", "-c", script, action={"timeout": timeout}, **NETWORK
            )
            stream = start(client, action)
            await until(stream, EXECUTING)
            await gate.visitor()
            clock.advance(7.2)
            response = response_of(await until(stream, COMPLETED))
            assert response.status.code == code_pb2.DEADLINE_EXCEEDED
            assert "7.2 seconds" in response.status.message
            assert await client.download(response.result.stdout_digest) == b"said\n"
            assert not await cached(client, action)

    async def test_a_missing_program_is_127_with_a_reason(self, client: Client) -> None:
        result = (await execute(client, await make(client, "no-such-program"))).result
        assert result.exit_code == 127
        assert b"no-such-program" in await client.download(result.stderr_digest)


class TestCaching:
    async def test_a_success_is_cached_and_answered_from_there(self, client: Client) -> None:
        action = await shell(client, "cat /proc/sys/kernel/random/uuid")
        first = await execute(client, action)
        second = await execute(client, action)
        assert not first.response.cached_result
        assert second.response.cached_result
        assert second.result == first.result
        assert await cached(client, action)

    async def test_it_is_run_again_where_the_look_up_is_skipped(self, client: Client) -> None:
        action = await shell(client, "cat /proc/sys/kernel/random/uuid")
        first = await execute(client, action)
        second = await execute(client, action, skip_cache_lookup=True)
        assert second.result.stdout_digest != first.result.stdout_digest
        assert (await execute(client, action)).result == second.result

    async def test_a_failure_is_returned_and_never_cached(self, client: Client) -> None:
        action = await shell(client, "exit 1")
        assert (await execute(client, action)).result.exit_code == 1
        assert not await cached(client, action)

    async def test_an_action_that_must_not_be_cached_isn_t(self, client: Client) -> None:
        action = await shell(client, "true", action={"do_not_cache": True})
        assert (await execute(client, action)).result.exit_code == 0
        assert not await cached(client, action)

    async def test_equal_actions_in_flight_share_one_execution(
        self, client: Client, gate: Gate
    ) -> None:
        action = await gated(client, gate)
        streams = [start(client, action) for _ in range(3)]
        for stream in streams:
            await until(stream, EXECUTING)
        visitor = await gate.visitor()
        visitor.let_through("one")
        ends = [await until(stream, COMPLETED) for stream in streams]
        assert gate.waiting == 0
        assert len({operation.name for operation in ends}) == 3
        assert len({response_of(operation).result.stdout_digest.hash for operation in ends}) == 1

    async def test_equal_actions_that_must_not_be_cached_are_run_each(
        self, client: Client, gate: Gate
    ) -> None:
        action = await gated(client, gate, action={"do_not_cache": True})
        streams = [start(client, action) for _ in range(2)]
        for word in ("one", "two"):
            (await gate.visitor()).let_through(word)
        ends = [response_of(await until(stream, COMPLETED)) for stream in streams]
        assert len({response.result.stdout_digest.hash for response in ends}) == 2


class TestMissingInputs:
    @pytest.mark.parametrize("absent", ["action", "command", "root", "file"])
    async def test_what_is_missing_is_told_in_the_form_clients_upload_for(
        self, client: Client, absent: str
    ) -> None:
        content = f"content of {absent}".encode()
        asked = Command(arguments=["/bin/cat", "file"], output_paths=[absent])
        action, blobs = action_blobs(asked, {"file": content})
        missing = dict(zip(("action", "command", "root", "file"), blobs, strict=True))[absent]
        await upload(client, [blob for blob in blobs if blob != missing])
        status = (await execute(client, digest_of(action))).response.status
        assert status.code == code_pb2.FAILED_PRECONDITION
        failure = PreconditionFailure()
        assert len(status.details) == 1
        assert status.details[0].Unpack(failure)
        digest = digest_of(missing)
        assert [(v.type, v.subject) for v in failure.violations] == [
            ("MISSING", f"blobs/{digest.hash}/{digest.size_bytes}")
        ]
        await upload(client, [missing])
        again = (await execute(client, digest_of(action), inline_stdout=True)).result
        assert again.stdout_raw == content


class TestOperations:
    async def test_a_broken_stream_is_resumed_by_name(self, client: Client, gate: Gate) -> None:
        stream = start(client, await gated(client, gate))
        name = (await until(stream, EXECUTING)).name
        visitor = await gate.visitor()
        stream.cancel()
        resumed = client.WaitExecution(WaitExecutionRequest(name=name))
        assert stage_of(await anext(aiter(resumed))) == EXECUTING
        visitor.let_through()
        assert response_of(await until(resumed, COMPLETED)).result.exit_code == 0

    async def test_one_that_ended_a_while_ago_is_still_known(self, client: Client) -> None:
        seen = await execute(client, await shell(client, "echo known"))
        stream = client.WaitExecution(WaitExecutionRequest(name=seen.name))
        again = Seen([operation async for operation in stream])
        assert again.stages == [COMPLETED]
        assert again.response == seen.response

    async def test_an_unknown_name_is_told_so(self, client: Client) -> None:
        request = WaitExecutionRequest(name="operations/unknown")
        await refusal(client.WaitExecution(request), grpc.StatusCode.NOT_FOUND, "unknown")

    async def test_pants_is_told_to_execute_again(self, worker: Server) -> None:
        header = RequestMetadata(tool_details=ToolDetails(tool_name="pants", tool_version="2.17.1"))
        pants = worker.connect((PANTS_HEADER, header.SerializeToString()))
        request = WaitExecutionRequest(name="operations/unknown")
        await refusal(pants.WaitExecution(request), grpc.StatusCode.ABORTED)

    async def test_a_cancelled_one_ends_at_once_and_its_process_too(
        self, client: Client, gate: Gate
    ) -> None:
        stream = start(client, await gated(client, gate))
        name = (await until(stream, EXECUTING)).name
        visitor = await gate.visitor()
        await client.CancelOperation(CancelOperationRequest(name=name))
        assert response_of(await until(stream, COMPLETED)).status.code == code_pb2.CANCELLED
        assert await visitor.is_gone()

    async def test_a_cancelled_one_leaves_the_execution_to_the_others(
        self, client: Client, gate: Gate
    ) -> None:
        action = await gated(client, gate)
        streams = [start(client, action) for _ in range(2)]
        names = [(await until(stream, EXECUTING)).name for stream in streams]
        visitor = await gate.visitor()
        await client.CancelOperation(CancelOperationRequest(name=names[0]))
        ended = response_of(await until(streams[0], COMPLETED))
        visitor.let_through()
        other = response_of(await until(streams[1], COMPLETED))
        assert (ended.status.code, other.status.code) == (code_pb2.CANCELLED, 0)

    async def test_they_are_got_and_listed_by_instance_and_deleted(self, client: Client) -> None:
        action = await shell(client, "echo listed", instance="a/b")
        name = (await execute(client, action, instance_name="a/b")).name
        assert re.fullmatch(r"a/b/operations/[0-9a-f-]{36}", name)
        got = await client.GetOperation(GetOperationRequest(name=name))
        assert got.done
        for collection in ("a/b/operations", "a/b"):  # BuildGrid's client names the instance alone
            listed = await client.ListOperations(ListOperationsRequest(name=collection))
            assert [operation.name for operation in listed.operations] == [name]
        assert not (await client.ListOperations(ListOperationsRequest(name="a"))).operations
        await client.DeleteOperation(DeleteOperationRequest(name=name))
        request = GetOperationRequest(name=name)
        await refusal(client.GetOperation(request), grpc.StatusCode.NOT_FOUND)

    async def test_an_operation_is_one_of_its_instance_alone(self, client: Client) -> None:
        action = await shell(client, "echo mine", instance="mine")
        name = (await execute(client, action, instance_name="mine")).name
        other = name.replace("mine/", "theirs/")
        for call in (
            client.GetOperation(GetOperationRequest(name=other)),
            client.CancelOperation(CancelOperationRequest(name=other)),
            client.DeleteOperation(DeleteOperationRequest(name=other)),
            client.WaitExecution(WaitExecutionRequest(name=other)),
        ):
            await refusal(call, grpc.StatusCode.NOT_FOUND, other)
        listed = await client.ListOperations(ListOperationsRequest(name="theirs/operations"))
        assert not listed.operations
        assert (await client.GetOperation(GetOperationRequest(name=name))).done

    async def test_a_long_list_comes_in_pages(self, client: Client) -> None:
        names = []
        for number in range(5):
            action = await shell(client, f"echo {number}", instance="pages")
            names.append((await execute(client, action, instance_name="pages")).name)
        found: list[str] = []
        token = ""
        while True:
            page = await client.ListOperations(
                ListOperationsRequest(name="pages/operations", page_size=2, page_token=token)
            )
            assert len(page.operations) <= 2
            found += [operation.name for operation in page.operations]
            token = page.next_page_token
            if not token:
                break
        assert found == names


class TestBadRequests:
    @pytest.mark.parametrize(
        ("command", "words"),
        [
            (Command(), "arguments"),
            (Command(arguments=["a\0b"]), "NUL"),
            (Command(arguments=["true"], output_paths=["../a"]), ".."),
            (Command(arguments=["true"], output_paths=["/a"]), "/a"),
            (Command(arguments=["true"], working_directory="/tmp"), "/tmp"),
            (Command(arguments=["true"], output_node_properties=["colour"]), "colour"),
        ],
    )
    async def test_a_command_that_can_t_be_right_is_refused(
        self, client: Client, command: Command, words: str
    ) -> None:
        action, blobs = action_blobs(command)
        await upload(client, blobs)
        stream = start(client, digest_of(action))
        await refusal(stream, grpc.StatusCode.INVALID_ARGUMENT, words)

    async def test_a_timeout_beyond_the_limit_is_refused(self, client: Client) -> None:
        action = await shell(client, "true", action={"timeout": Duration(seconds=10**6)})
        stream = start(client, action)
        await refusal(stream, grpc.StatusCode.INVALID_ARGUMENT, "max_action_timeout")

    async def test_an_action_that_is_none_is_refused(self, client: Client) -> None:
        await upload(client, [b"\xff not a message"])
        stream = start(client, digest_of(b"\xff not a message"))
        await refusal(stream, grpc.StatusCode.INVALID_ARGUMENT, "Action")


def asking_for(**properties: str) -> dict[str, Any]:
    return {"properties": [{"name": n, "value": v} for n, v in properties.items()]}


MACHINE = platform.system(), platform.machine()
ELSEWHERE = [("OSFamily", "windows"), ("ISA", "vax"), ("Arch", "sparc64"), ("os", "solaris")]


class TestPlatforms:
    @pytest.mark.parametrize(("name", "value"), ELSEWHERE)
    async def test_an_action_for_another_platform_is_refused_with_the_reason(
        self, client: Client, name: str, value: str
    ) -> None:
        asked = asking_for(**{name: value})
        for action in (
            await shell(client, f"echo {name} command", platform=asked),
            await shell(client, f"echo {name} action", action={"platform": asked}),
        ):
            seen = await execute(client, action)
            assert seen.stages == [CACHE_CHECK, COMPLETED]
            status = seen.response.status
            assert status.code == code_pb2.FAILED_PRECONDITION
            assert not status.details  # clients take details for inputs to upload
            for word in (f"{name}={value}", "other_platforms"):
                assert word in status.message
            assert not await cached(client, action)

    async def test_an_action_for_this_platform_is_run_and_other_properties_do_not_matter(
        self, client: Client
    ) -> None:
        system, machine = MACHINE
        asked = asking_for(
            OSFamily=system,
            ISA=machine,
            Arch=machine,
            Pool="x",
            cpu="4",
            **{"container-image": "y"},
        )
        action = await shell(client, "echo here", platform=asked)
        assert (await execute(client, action)).result.exit_code == 0

    async def test_a_result_from_another_platform_is_answered_from_the_cache(
        self, client: Client
    ) -> None:
        action = await shell(client, "built elsewhere", platform=asking_for(OSFamily="windows"))
        result = ActionResult(stdout_digest=digest_of(b""), stderr_digest=digest_of(b""))
        await client.UpdateActionResult(
            UpdateActionResultRequest(action_digest=action, action_result=result)
        )
        assert (await execute(client, action)).response.cached_result

    async def test_a_setting_runs_them_here(self, tmp_path: Path) -> None:
        settings = {"execution": "on", "other_platforms": "run"}
        async with serving(tmp_path / "data", "grpcio", **settings) as lenient:
            for name, value in ELSEWHERE:
                asked = asking_for(**{name: value})
                action = await shell(lenient.client, "true", platform=asked)
                assert (await execute(lenient.client, action)).result.exit_code == 0


async def test_where_slots_work_nothing_less_is_used(worker: Server, tmp_path: Path) -> None:
    """A server that fell back to a weaker sandbox would pass all else here."""
    config = SandboxConfig(
        count=1,
        limits=ActionLimits(),
        work_dir=str(tmp_path),
        layers_dir=str(Path(worker.config.data_dir) / "inputs"),
        caches_dir=str(Path(worker.config.data_dir) / "caches"),
    )
    alone = SlotSandbox(config)
    try:
        await alone.start()
    except SandboxError as error:
        if os.environ.get("CI"):
            raise
        pytest.skip(f"slots don't work here: {error}")
    finally:
        await alone.close()
    status = await worker.status()
    assert (status["execution"]["sandbox"], status["execution"]["reasons"]) == ("slots", [])


async def test_an_action_that_nobody_waits_for_is_ended(tmp_path: Path, gate: Gate) -> None:
    async with serving(tmp_path, "grpcio", execution="on", watch_grace=0.0) as worker:
        stream = start(worker.client, await gated(worker.client, gate))
        await until(stream, EXECUTING)
        visitor = await gate.visitor()
        stream.cancel()
        assert await visitor.is_gone()


async def test_a_success_that_ran_into_a_limit_says_so_and_isn_t_cached(tmp_path: Path) -> None:
    async with serving(tmp_path, "grpcio", execution="on", scratch_size=1_000_000) as worker:
        client = worker.client
        action = await shell(client, "head -c 2000000 /dev/zero >zeros; exit 0")
        response = (await execute(client, action, inline_stderr=True)).response
        assert response.result.exit_code == 0
        assert "scratch_size" in response.message
        assert b"scratch_size" in response.result.stderr_raw
        assert not await cached(client, action)


async def test_the_more_urgent_goes_first(tmp_path: Path, gate: Gate) -> None:
    async with serving(tmp_path, "grpcio", execution="on", slots=1) as worker:
        client = worker.client
        first = start(client, await gated(client, gate))
        visitor = await gate.visitor()
        waiting = {}
        for word, priority in (("later", 5), ("sooner", -5), ("normal", 0)):
            action = await make(client, "/bin/bash", "-c", f"{gate.script}; : {word}", **NETWORK)
            waiting[word] = start(client, action, execution_policy={"priority": priority})
            await until(waiting[word], QUEUED)
        visitor.let_through()
        await until(first, COMPLETED)
        for word in ("sooner", "normal", "later"):
            visitor = await gate.visitor()
            await until(waiting[word], EXECUTING)
            visitor.let_through()
            await until(waiting[word], COMPLETED)


async def test_a_server_that_executes_nothing_says_why(tmp_path: Path) -> None:
    async with serving(tmp_path, "grpcio", execution="off") as worker:
        client = worker.client
        action = await shell(client, "true")
        await refusal(start(client, action), grpc.StatusCode.UNIMPLEMENTED, "setting execution")
        answer = await client.GetCapabilities(GetCapabilitiesRequest())
        assert not answer.execution_capabilities.exec_enabled


async def test_a_stopping_server_ends_what_waits_and_finishes_what_executes(
    tmp_path: Path, gate: Gate
) -> None:
    async with AsyncExitStack() as stack:
        worker = await stack.enter_async_context(
            serving(tmp_path, "grpcio", execution="on", slots=1)
        )
        # Of its own: the server's helper closes its clients before it stops.
        client = Client(worker.address, worker.client.headers)
        executing = start(client, await gated(client, gate))
        visitor = await gate.visitor()
        queued = start(client, await shell(client, "true"))
        await until(queued, QUEUED)
        stopping = asyncio.create_task(stack.aclose())
        ended = response_of(await until(queued, COMPLETED))
        assert ended.status.code == code_pb2.UNAVAILABLE
        visitor.let_through()
        assert response_of(await until(executing, COMPLETED)).result.exit_code == 0
        await stopping
        await client.channel.close(None)


@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_a_server_that_stops_without_waiting_is_unavailable(
    tmp_path: Path, gate: Gate, transport: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As it is for calls that come later, so clients do the same about both: try again."""
    monkeypatch.setattr("reapi_local.compose.server._GRACE_SECONDS", 0.1)
    async with serving(tmp_path, transport, execution="on") as worker:
        client = Client(worker.address, worker.client.headers)
        executing = start(client, await gated(client, gate))
        await gate.visitor()
    await refusal(executing, grpc.StatusCode.UNAVAILABLE)
    await client.channel.close(None)
