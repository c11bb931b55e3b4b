"""Test cases: a server that is killed while it runs actions, and the next server."""

from __future__ import annotations

import asyncio
from pathlib import Path

from execute.sandbox_bench import Bench, cases_in, run_cases
from reapi_local.execute.sandbox.action_paths import CACHES


async def two_actions_run_until_they_are_killed(bench: Bench) -> None:
    sleepers = "setsid sleep 1000 & (sleep 1000 &); sleep 1000"
    script = f"exec 9> {CACHES}/witness; echo up >&9; {sleepers}"
    await asyncio.gather(bench.shell(script), bench.shell(script))


async def the_next_server_removes_what_a_killed_one_left(bench: Bench) -> None:
    assert not mounts_below(bench.work)
    seen = await asyncio.gather(*(bench.shell("ls -A; echo usable") for _ in range(3)))
    assert {each.stdout for each in seen} == {b"usable\n"}
    await bench.sandbox.close()
    assert [path for path in bench.work.rglob("*") if path.is_file()] == []


def mounts_below(path: Path) -> list[str]:
    with open("/proc/self/mounts") as mounts:
        return [line for line in mounts if f" {path}/" in line]


if __name__ == "__main__":
    run_cases(cases_in(globals()))
