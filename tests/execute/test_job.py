"""What is known of an action before it runs."""

from __future__ import annotations

import asyncio
import os
import shlex
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any

import pytest
from google.protobuf.duration_pb2 import Duration

from reapi_local.errors import InvalidRequest, MissingInputs
from reapi_local.execute.clients.pants import WRAPPER
from reapi_local.execute.local.inputs.input_roots import InputRoots
from reapi_local.execute.local.job import ActionResolver, Caller, Job, Policy
from reapi_local.execute.sandbox.interface import HOME, ProcessResult, ProcessSpec, SandboxError
from reapi_local.proto import remote_execution_pb2 as re_pb2
from reapi_local.protocol.command import Output, OutputKind
from reapi_local.protocol.digest import Digest, DigestFunction, digest_of, make_digest
from reapi_local.store.memory import MemoryStore
from reapi_local.protocol.lookup import ActionKey

MIB = 1024 * 1024
BAZEL, PANTS = "bazel 7.0", "pants 2.17.1"
USUAL = {"default_timeout": 60.0, "longest_timeout": 600.0, "hermetic": False, "shares_host": True}


class Somewhere:
    """A sandbox of which only the place matters."""

    root = "/some/root"
    notes: tuple[str, ...] = ()

    async def start(self) -> None: ...

    async def close(self) -> None: ...

    def run(
        self, spec: ProcessSpec, stop: asyncio.Event
    ) -> AbstractAsyncContextManager[ProcessResult]:
        raise SandboxError("it runs nothing")


class World:
    """A store with actions in it, and what makes jobs of them."""

    def __init__(self, directory: Path, function: DigestFunction = DigestFunction.SHA256) -> None:
        self.blobs, self.directory, self.function = MemoryStore(), directory, function

    def add(self, data: bytes) -> re_pb2.Digest:
        digest = digest_of(data, self.function)
        self.blobs.blobs[digest] = data
        return re_pb2.Digest(hash=digest.hash_hex, size_bytes=digest.size_bytes)

    def root(self, **files: bytes) -> re_pb2.Digest:
        """An input root with these files."""
        nodes = [re_pb2.FileNode(name=name, digest=self.add(files[name])) for name in sorted(files)]
        return self.add(re_pb2.Directory(files=nodes).SerializeToString())

    def action(
        self,
        *,
        input_root: re_pb2.Digest | None = None,
        action: dict[str, Any] | None = None,
        **command: Any,
    ) -> Digest:
        """The digest of an action whose command has these fields."""
        message = re_pb2.Command(**{"arguments": ["true"], **command})
        sent = re_pb2.Action(
            command_digest=self.add(message.SerializeToString()),
            input_root_digest=input_root or self.root(),
            **(action or {}),
        )
        digest = digest_of(sent.SerializeToString(), self.function)
        self.blobs.blobs[digest] = sent.SerializeToString()
        return digest

    async def job(
        self,
        action: Digest,
        tool: str = BAZEL,
        *,
        instance: str = "",
        owner: int | None = None,
        policy: dict[str, Any] | None = None,
    ) -> Job:
        roots = InputRoots(self.blobs, str(self.directory / "inputs"), 64 * MIB)
        try:
            preparation = ActionResolver(
                self.blobs,
                roots,
                Somewhere(),
                Policy(**{**USUAL, **(policy or {})}),
                str(self.directory / "caches"),
                owner,
            )
            return await preparation.job(ActionKey(instance, action), Caller("me", "run", tool))
        finally:
            await roots.close()


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def wrapper(directory: str) -> bytes:
    return (
        f'#!/bin/sh\ncd {shlex.quote(directory)}\nif [ "$?" != 0 ]; then\n  exit 1\nfi\nexec "$@"\n'
    ).encode()


def variables(**values: str) -> list[re_pb2.Command.EnvironmentVariable]:
    return [re_pb2.Command.EnvironmentVariable(name=n, value=v) for n, v in values.items()]


def platform(**values: str) -> re_pb2.Platform:
    return re_pb2.Platform(
        properties=[re_pb2.Platform.Property(name=n, value=v) for n, v in values.items()]
    )


@pytest.mark.parametrize("function", DigestFunction)
async def test_a_job_has_all_that_its_action_and_command_say(
    tmp_path: Path, function: DigestFunction
) -> None:
    world = World(tmp_path, function)
    action = world.action(
        arguments=["a", "b c"],
        working_directory="w/d",
        output_paths=["x/y", "z"],
        action={"do_not_cache": True, "timeout": Duration(seconds=5)},
    )
    job = await world.job(action)
    assert job.key == ActionKey("", action)
    assert job.action.do_not_cache
    assert job.spec.arguments == ("a", "b c")
    assert job.spec.working_directory == job.output_directory == "w/d"
    assert job.command.outputs == (Output("x/y", OutputKind.ANY), Output("z", OutputKind.ANY))
    assert job.timeout == 5.0
    assert not job.follow_links
    assert job.caller == Caller("me", "run", BAZEL)


async def test_the_directories_that_outputs_go_into_are_made_but_not_the_outputs(
    world: World,
) -> None:
    action = world.action(output_files=["a", "b/c", "b/d"], output_directories=["e/f/g", ""])
    assert (await world.job(action)).spec.directories == ("b", "e/f")
    action = world.action(working_directory="w", output_paths=["a", "b/c"])
    assert (await world.job(action)).spec.directories == ("w", "w/b")
    assert (await world.job(world.action(working_directory="w"))).spec.directories == ()


async def test_a_path_and_a_home_are_there_unless_the_command_has_others(world: World) -> None:
    plain = (await world.job(world.action())).spec.environment
    assert plain["HOME"] == HOME
    assert {"/bin", "/usr/bin"} <= set(plain["PATH"].split(":"))
    own = world.action(environment_variables=variables(PATH="/mine", A="b"))
    assert (await world.job(own)).spec.environment == {"HOME": HOME, "PATH": "/mine", "A": "b"}


@pytest.mark.parametrize(
    ("asked", "given"),
    [(None, 60.0), (Duration(), 60.0), (Duration(seconds=600), 600.0), (Duration(nanos=1), 1e-9)],
)
async def test_a_timeout_is_the_actions_own_or_the_servers(
    world: World, asked: Duration | None, given: float
) -> None:
    assert (await world.job(world.action(action={"timeout": asked}))).timeout == given


async def test_a_timeout_is_never_longer_than_the_longest(world: World) -> None:
    with pytest.raises(InvalidRequest, match=r"601 seconds, at most 600 .* max_action_timeout"):
        await world.job(world.action(action={"timeout": Duration(seconds=601)}))
    assert (await world.job(world.action(), policy={"default_timeout": 900.0})).timeout == 600.0


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
    assert len((await job).spec.directories) == 50_000
    assert turns > 20


async def test_what_is_no_action_or_no_command_is_refused(world: World) -> None:
    world.add(b"\xff")
    with pytest.raises(InvalidRequest, match="isn't a message of type Action"):
        await world.job(digest_of(b"\xff"))
    with pytest.raises(InvalidRequest, match="no program"):
        await world.job(world.action(arguments=[]))


@pytest.mark.parametrize(
    ("tool", "asked", "policy", "has_network"),
    [
        (BAZEL, None, {}, False),
        (BAZEL, "on", {}, True),
        (BAZEL, "off", {}, False),
        (BAZEL, "on", {"hermetic": True}, False),
        (PANTS, None, {}, True),
        (PANTS, "off", {}, False),
        (PANTS, None, {"shares_host": False}, False),
        (PANTS, "on", {"shares_host": False}, True),
        (PANTS, "on", {"hermetic": True}, False),
        (PANTS, None, {"hermetic": True}, False),
    ],
)
async def test_who_has_a_network(
    world: World, tool: str, asked: str | None, policy: dict[str, bool], *, has_network: bool
) -> None:
    wanted = platform(network=asked) if asked else platform(os="linux")
    for action in (world.action(platform=wanted), world.action(action={"platform": wanted})):
        assert (await world.job(action, tool, policy=policy)).spec.network is has_network


async def test_the_mark_for_the_input_root_is_replaced_for_pants_alone(world: World) -> None:
    action = world.action(
        arguments=["{chroot}/x"], environment_variables=variables(PATH="{chroot}/bin")
    )
    spec = (await world.job(action, PANTS)).spec
    assert spec.arguments == ("/some/root/x",)
    assert spec.environment["PATH"] == "/some/root/bin"
    assert (await world.job(action, BAZEL)).spec.arguments == ("{chroot}/x",)


async def test_pants_outputs_are_relative_to_the_directory_its_wrapper_goes_into(
    world: World,
) -> None:
    root = world.root(**{WRAPPER: wrapper("a b/c")})
    action = world.action(
        input_root=root, arguments=[f"./{WRAPPER}", "python"], output_paths=["o/p"]
    )
    job = await world.job(action, PANTS)
    assert job.output_directory == "a b/c"
    assert job.spec.working_directory == ""
    assert job.spec.directories == ("a b/c/o",)
    assert job.follow_links
    assert (await world.job(action, BAZEL)).output_directory == ""


async def test_a_wrapper_leads_nowhere_outside(world: World) -> None:
    root = world.root(**{WRAPPER: wrapper("../../etc")})
    action = world.action(input_root=root, arguments=[f"./{WRAPPER}"], output_paths=["o/p"])
    job = await world.job(action, PANTS)
    assert (job.output_directory, job.spec.directories) == ("", ("o",))


async def test_a_working_directory_of_pants_own_counts_before_a_wrapper(world: World) -> None:
    root = world.root(**{WRAPPER: wrapper("other")})
    action = world.action(input_root=root, arguments=[f"./{WRAPPER}"], working_directory="w")
    job = await world.job(action, PANTS)
    assert job.spec.working_directory == job.output_directory == "w"


async def test_a_wrapper_that_is_not_in_the_input_root_tells_nothing(world: World) -> None:
    job = await world.job(world.action(arguments=[f"./{WRAPPER}"]), PANTS)
    assert job.output_directory == ""


async def test_a_wrapper_whose_content_is_missing_is_missing(world: World) -> None:
    root = world.root(**{WRAPPER: wrapper("a")})
    del world.blobs.blobs[digest_of(wrapper("a"))]
    action = world.action(input_root=root, arguments=[f"./{WRAPPER}"])
    with pytest.raises(MissingInputs) as caught:
        await world.job(action, PANTS)
    assert caught.value.digests == (digest_of(wrapper("a")),)


async def test_each_instance_has_its_own_caches_whatever_its_name(
    world: World, tmp_path: Path
) -> None:
    caches = {}
    for instance in ("", "a", "a/b", "../../x"):
        caches[instance] = (await world.job(world.action(), PANTS, instance=instance)).spec.caches
    assert len(set(caches.values())) == len(caches)
    for path in caches.values():
        assert path is not None
        assert os.path.dirname(path) == str(tmp_path / "caches")
        assert os.stat(path).st_mode & 0o777 == 0o700
    assert (await world.job(world.action(), PANTS, instance="a")).spec.caches == caches["a"]
    assert (await world.job(world.action(), BAZEL)).spec.caches is None


@pytest.mark.skipif(os.geteuid() != 0, reason="giving a directory away takes root")
async def test_caches_belong_to_those_who_use_them(world: World) -> None:
    before = (await world.job(world.action(), PANTS)).spec.caches
    after = (await world.job(world.action(), PANTS, owner=64321)).spec.caches
    assert before == after is not None
    assert (os.stat(after).st_uid, os.stat(after).st_gid) == (64321, 64321)
