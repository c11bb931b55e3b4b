"""What is known of an action before it gets its turn."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path

import pytest
from google.protobuf.duration_pb2 import Duration

from contexts import context
from execute.stored_actions import BAZEL, PANTS, USUAL, World, wrapper
from reapi_local.clock import ManualClock
from reapi_local.errors import InvalidRequest, MissingInputs
from reapi_local.execute.clients.pants import PANTS as PANTS_PROFILE
from reapi_local.execute.clients.pants import WRAPPER
from reapi_local.execute.clients.profile import DEFAULT, ClientProfile
from reapi_local.proto import remote_execution_pb2 as re_pb2
from reapi_local.protocol.command import Output, OutputKind
from reapi_local.protocol.digest import DigestFunction, digest_of, make_digest


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


@pytest.mark.parametrize("function", DigestFunction)
async def test_a_job_has_all_that_its_action_and_command_say(
    tmp_path: Path, function: DigestFunction
) -> None:
    world, clock = World(tmp_path, function), ManualClock()
    action = world.action(
        arguments=["a", "b c"],
        working_directory="w/d",
        output_paths=["x/y", "z"],
        action={"do_not_cache": True, "timeout": Duration(seconds=5)},
    )
    job = await world.job(action, instance="main", clock=clock)
    assert job.digest == action
    assert job.context == context("run", "main", BAZEL)
    assert job.action.do_not_cache
    assert job.command.arguments == ("a", "b c")
    assert job.command.working_directory == "w/d"
    assert job.command.outputs == (
        Output("x/y", OutputKind.ANY, "w/d/x/y"),
        Output("z", OutputKind.ANY, "w/d/z"),
    )
    assert job.timeout == 5.0
    assert job.queued_at == clock.now()
    assert job.size_bytes == action.size_bytes + job.action.command.size_bytes


@pytest.mark.parametrize(("tool", "profile"), [(BAZEL, DEFAULT), (PANTS, PANTS_PROFILE)])
async def test_a_job_has_the_profile_of_the_tool_that_asks(
    world: World, tool: str, profile: ClientProfile
) -> None:
    assert (await world.job(world.action(), tool)).profile is profile


async def test_the_directories_that_outputs_go_into_are_made_but_not_the_outputs(
    world: World,
) -> None:
    action = world.action(output_files=["a", "b/c", "b/d"], output_directories=["e/f/g", ""])
    assert (await world.job(action)).directories == ("b", "e/f")
    action = world.action(working_directory="w", output_paths=["a", "b/c"])
    assert (await world.job(action)).directories == ("w", "w/b")
    assert (await world.job(world.action(working_directory="w"))).directories == ()
    action = world.action(
        working_directory="w/.", output_paths=["../obj/a", "./b/", "..", "../../w"]
    )
    with pytest.raises(InvalidRequest, match="leads out"):
        await world.job(action)
    action = world.action(working_directory="w/.", output_paths=["../obj/a", "./b/", ".."])
    assert (await world.job(action)).directories == ("obj", "w")


@pytest.mark.parametrize(
    ("asked", "given"),
    [(None, 60.0), (Duration(), 60.0), (Duration(seconds=600), 600.0), (Duration(nanos=1), 1e-9)],
)
async def test_a_timeout_is_the_actions_own_or_the_servers(
    world: World, asked: Duration | None, given: float
) -> None:
    assert (await world.job(world.action(action={"timeout": asked}))).timeout == given


async def test_a_timeout_is_never_longer_than_the_longest(world: World) -> None:
    with pytest.raises(InvalidRequest, match=r"601 seconds, .* 600; .* max_action_timeout"):
        await world.job(world.action(action={"timeout": Duration(seconds=601)}))
    assert (
        await world.job(world.action(), policy=replace(USUAL, default_timeout=900.0))
    ).timeout == 600.0


async def test_an_action_or_a_command_that_is_not_there_is_missing(world: World) -> None:
    absent = digest_of(b"absent")
    with pytest.raises(MissingInputs) as caught:
        await world.job(absent)
    assert caught.value.digests == (absent,)

    action = world.action(arguments=["forgotten"])
    command = digest_of(re_pb2.Command(arguments=["forgotten"]).SerializeToString())
    del world.blobs.blobs[command]
    with pytest.raises(MissingInputs) as caught:
        await world.job(action)
    assert caught.value.digests == (command,)


async def test_a_blob_too_large_for_an_action_is_refused_before_it_is_read(world: World) -> None:
    huge = make_digest(DigestFunction.SHA256, bytes(32), 1 << 40)
    with pytest.raises(InvalidRequest, match="too large for an Action or a Command"):
        await world.job(huge)


async def test_others_are_served_while_a_large_command_is_checked(world: World) -> None:
    action = world.action(output_paths=[f"out/{number}/a/b/c" for number in range(50_000)])
    job = asyncio.create_task(world.job(action))
    turns = 0
    while not job.done():
        await asyncio.sleep(0)
        turns += 1
    assert len((await job).directories) == 50_000
    assert turns > 20


async def test_what_is_no_action_or_no_command_is_refused(world: World) -> None:
    world.add(b"\xff")
    with pytest.raises(InvalidRequest, match="isn't a message of type Action"):
        await world.job(digest_of(b"\xff"))
    with pytest.raises(InvalidRequest, match="no program"):
        await world.job(world.action(arguments=[]))


async def test_pants_outputs_are_relative_to_the_directory_its_wrapper_goes_into(
    world: World,
) -> None:
    root = world.root(**{WRAPPER: wrapper("a b/c")})
    action = world.action(
        input_root=root, arguments=[f"./{WRAPPER}", "python"], output_paths=["o/p"]
    )
    job = await world.job(action, PANTS)
    assert job.command.outputs == (Output("o/p", OutputKind.ANY, "a b/c/o/p"),)
    assert job.command.working_directory == ""
    assert job.directories == ("a b/c/o",)
    assert job.profile.follows_links
    assert (await world.job(action, BAZEL)).directories == ("o",)


async def test_a_wrapper_leads_nowhere_outside(world: World) -> None:
    root = world.root(**{WRAPPER: wrapper("../../etc")})
    action = world.action(input_root=root, arguments=[f"./{WRAPPER}"], output_paths=["o/p"])
    job = await world.job(action, PANTS)
    assert job.directories == ("o",)


async def test_a_working_directory_of_pants_own_counts_before_a_wrapper(world: World) -> None:
    root = world.root(**{WRAPPER: wrapper("other")})
    action = world.action(
        input_root=root, arguments=[f"./{WRAPPER}"], working_directory="w", output_paths=["o/p"]
    )
    job = await world.job(action, PANTS)
    assert (job.command.working_directory, job.directories) == ("w", ("w/o",))


async def test_a_wrapper_that_is_not_in_the_input_root_tells_nothing(world: World) -> None:
    action = world.action(arguments=[f"./{WRAPPER}"], output_paths=["o/p"])
    assert (await world.job(action, PANTS)).directories == ("o",)


async def test_a_wrapper_whose_content_is_missing_is_missing(world: World) -> None:
    root = world.root(**{WRAPPER: wrapper("a")})
    del world.blobs.blobs[digest_of(wrapper("a"))]
    action = world.action(input_root=root, arguments=[f"./{WRAPPER}"])
    with pytest.raises(MissingInputs) as caught:
        await world.job(action, PANTS)
    assert caught.value.digests == (digest_of(wrapper("a")),)
