"""The process that is made of a job once its sandbox is known."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest

from execute.stored_actions import (
    BAZEL,
    LAYERS,
    PANTS,
    ROOT,
    USUAL,
    World,
    platform,
    variables,
)
from reapi_local.execute.local.policy import Policy
from reapi_local.execute.sandbox.action_paths import HOME

HERMETIC, ELSEWHERE = replace(USUAL, hermetic=True), replace(USUAL, shares_host=False)


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


@pytest.mark.parametrize("tool", [BAZEL, PANTS])
async def test_a_process_has_what_the_command_says_and_its_layers(world: World, tool: str) -> None:
    action = world.action(
        arguments=["a", "b c"], working_directory="w/d", output_paths=["x/y", "z"]
    )
    spec = await world.spec(action, tool)
    assert spec.arguments == ("a", "b c")
    assert spec.working_directory == "w/d"
    assert spec.layers == LAYERS
    assert spec.directories == ("w/d", "w/d/x")


async def test_a_path_and_a_home_are_there_unless_the_command_has_others(world: World) -> None:
    plain = (await world.spec(world.action())).environment
    assert plain["HOME"] == HOME
    assert {"/bin", "/usr/bin"} <= set(plain["PATH"].split(":"))
    own = world.action(environment_variables=variables(PATH="/mine", A="b"))
    assert (await world.spec(own)).environment == {"HOME": HOME, "PATH": "/mine", "A": "b"}


@pytest.mark.parametrize(
    ("tool", "asked", "policy", "has_network"),
    [
        (BAZEL, None, USUAL, False),
        (BAZEL, "on", USUAL, True),
        (BAZEL, "off", USUAL, False),
        (BAZEL, "on", HERMETIC, False),
        (PANTS, None, USUAL, True),
        (PANTS, "off", USUAL, False),
        (PANTS, None, ELSEWHERE, False),
        (PANTS, "on", ELSEWHERE, True),
        (PANTS, "on", HERMETIC, False),
        (PANTS, None, HERMETIC, False),
    ],
)
async def test_who_has_a_network(
    world: World, tool: str, asked: str | None, policy: Policy, *, has_network: bool
) -> None:
    wanted = platform(network=asked) if asked else platform(os="linux")
    for action in (world.action(platform=wanted), world.action(action={"platform": wanted})):
        assert (await world.spec(action, tool, policy=policy)).network is has_network


async def test_the_mark_for_the_input_root_is_replaced_for_pants_alone(world: World) -> None:
    action = world.action(
        arguments=["{chroot}/x"], environment_variables=variables(PATH="{chroot}/bin")
    )
    spec = await world.spec(action, PANTS)
    assert spec.arguments == (f"{ROOT}/x",)
    assert spec.environment["PATH"] == f"{ROOT}/bin"
    assert (await world.spec(action, BAZEL)).arguments == ("{chroot}/x",)


async def test_each_instance_has_its_own_caches_whatever_its_name(
    world: World, tmp_path: Path
) -> None:
    caches = {}
    for instance in ("", "a", "a/b", "../../x"):
        caches[instance] = (await world.spec(world.action(), PANTS, instance=instance)).caches
    assert len(set(caches.values())) == len(caches)
    for path in caches.values():
        assert path is not None
        assert os.path.dirname(path) == str(tmp_path / "caches")
        assert os.stat(path).st_mode & 0o777 == 0o700
    assert (await world.spec(world.action(), PANTS, instance="a")).caches == caches["a"]
    assert (await world.spec(world.action(), BAZEL)).caches is None


@pytest.mark.skipif(os.geteuid() != 0, reason="giving a directory away takes root")
async def test_caches_belong_to_those_who_use_them(world: World) -> None:
    before = (await world.spec(world.action(), PANTS)).caches
    after = (await world.spec(world.action(), PANTS, owner=64321)).caches
    assert before == after is not None
    assert (os.stat(after).st_uid, os.stat(after).st_gid) == (64321, 64321)
