"""The process group, which isolates nothing."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from execute.sandbox_bench import PATH, Bench, bench_of
from reapi_local.execute.sandbox.action_paths import CACHES, HOME, INPUT_ROOT
from reapi_local.execute.sandbox.interface import ActionLimits, ProcessSpec, SandboxError

LINUX = pytest.mark.skipif(sys.platform != "linux", reason="needs Linux")


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[Bench]:
    async with bench_of("process-group", tmp_path) as bench:
        yield bench


async def test_paths_of_the_contract_are_replaced_with_those_on_the_host(bench: Bench) -> None:
    script = 'cd / && echo in > $1/a && echo home > "$HOME"/b && echo kept > $2/c && cat $1/a'
    ran = await bench.shell(
        f"{script} && cat {HOME}/b",
        INPUT_ROOT,
        CACHES,
        environment={"PATH": PATH, "HOME": HOME},
        reads=["a"],
    )
    assert (ran.stdout, ran.stderr) == (b"in\nhome\n", b"")
    assert ran.files == {"a": b"in\n"}
    assert (bench.caches / "c").read_text() == "kept\n"


@pytest.mark.parametrize(
    "other", [f"{INPUT_ROOT}s", f"{INPUT_ROOT}-2/x", f"{INPUT_ROOT}.d", f"{HOME}_", "/reapi"]
)
async def test_paths_that_only_have_the_same_prefix_are_unchanged(bench: Bench, other: str) -> None:
    assert (await bench.run("printf", "%s", other)).stdout.decode() == other


@pytest.mark.parametrize(
    ("before", "after"), [("--dir=", "/x"), ("-I", ""), ("a:", ":b"), ("'", "'"), ("", "")]
)
async def test_a_path_is_replaced_wherever_it_occurs(bench: Bench, before: str, after: str) -> None:
    ran = await bench.run("printf", "%s", f"{before}{INPUT_ROOT}{after}")
    seen = ran.stdout.decode()
    assert seen.startswith(f"{before}{bench.work}")
    assert seen.endswith(f"root{after}")


async def test_without_caches_their_path_is_unchanged(bench: Bench) -> None:
    spec = ProcessSpec(("printf", "%s", CACHES), {"PATH": PATH})
    async with bench.sandbox.run(spec, asyncio.Event()) as process_result:
        assert os.pread(process_result.stdout_fd, 100, 0).decode() == CACHES


async def test_a_note_says_that_it_isolates_nothing(bench: Bench) -> None:
    assert "isolates nothing" in " ".join(bench.sandbox.notes)


@LINUX
async def test_a_killed_supervisor_is_a_sandbox_error(bench: Bench) -> None:
    with pytest.raises(SandboxError):
        await bench.shell("kill -9 $PPID; exec sleep 0.1")
    assert (await bench.shell("echo usable")).stdout == b"usable\n"


async def test_limits_of_file_size_and_cpu_time_hold(bench: Bench) -> None:
    async with bench.limited(ActionLimits(file_bytes=1 << 20, cpu_seconds=1)):
        ran = await bench.shell("exec head -c 3000000 /dev/zero > file")
        assert "action_file_size" in ran.process_result.limits_exceeded[0]
        ran = await bench.shell("while :; do :; done")
        assert "action_cpu_seconds" in ran.process_result.limits_exceeded[0]
