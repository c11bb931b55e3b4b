"""What executing costs: the sandbox by itself, whole Execute calls, and a queue of real work."""

from __future__ import annotations

import argparse
import asyncio
import shutil
import subprocess
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import chain
from pathlib import Path
from resource import RUSAGE_CHILDREN, getrusage
from statistics import median

import blobs
import sandbox_cost
from execute_client import ExecuteClient, connect, cpu_seconds
from input_root import Inputs
from report import Result
from servers import Serving, reapi_local

from reapi_local.proto import remote_execution_pb2 as re_pb2

_SLOTS = 2
_CALLS = 100
_WARM_UP = 20
_ACTIONS = 500
_ACTION_CPU_S = 0.05
_BUSY = """
#include <time.h>
int main(void) {
    struct timespec used;
    do clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &used);
    while (used.tv_sec + used.tv_nsec / 1e9 < %g);
    return 0;
}
"""


def measure(options: argparse.Namespace) -> list[Result]:
    """The sandbox in this process; the rest over a server with two slots."""
    scratch = Path(options.scratch)
    added = sandbox_cost.overhead(scratch / "sandbox", options.rounds)
    with reapi_local(scratch / "server", f"--slots={_SLOTS}") as serving:
        return added + asyncio.run(_over_a_server(serving, scratch, options.rounds))


async def _over_a_server(serving: Serving, scratch: Path, rounds: int) -> list[Result]:
    async with connect(serving) as client:
        calls = await _calls(serving, client, rounds)
        return calls + await _queue(serving, client, _compiled(scratch), rounds)


async def _calls(serving: Serving, client: ExecuteClient, rounds: int) -> list[Result]:
    """Every action is new, and uploaded before it is timed."""
    root = Inputs().whole()
    await client.upload(root.content)
    at_once = (1, 2)
    seconds: dict[int, list[float]] = {number: [] for number in at_once}
    cpu: dict[int, list[float]] = {number: [] for number in at_once}
    await _in_turn(client, await client.new_actions(_WARM_UP, ["/bin/true"], root.digest))
    for _ in range(rounds):
        for number in at_once:
            actions = await client.new_actions(_CALLS, ["/bin/true"], root.digest)
            parts = [actions[start::number] for start in range(number)]
            before = serving.cpu_seconds
            samples = await asyncio.gather(*(_in_turn(client, part) for part in parts))
            cpu[number].append((serving.cpu_seconds - before) / _CALLS)
            seconds[number].append(median(chain.from_iterable(samples)))
    return [
        result
        for number in at_once
        for result in (
            Result(f"Execute, {number} at a time: p50", "server", "s", seconds[number], 8e-3),
            Result(f"Execute, {number} at a time: CPU without slots", "server", "s", cpu[number]),
        )
    ]


async def _in_turn(client: ExecuteClient, actions: Sequence[re_pb2.Digest]) -> list[float]:
    return [await client.timed(action) for action in actions]


async def _queue(
    serving: Serving, client: ExecuteClient, program: Path, rounds: int
) -> list[Result]:
    """All at once on the server, beside the same processes started two at a time."""
    content, name = await asyncio.to_thread(program.read_bytes), program.name
    node = re_pb2.FileNode(name=name, digest=blobs.digest_of(content), is_executable=True)
    root = re_pb2.Directory(files=[node]).SerializeToString()
    await client.upload([content, root])
    shares: dict[str, list[float]] = {"plain": [], "server": []}
    cpu: list[float] = []
    for _ in range(rounds):
        shares["plain"].append(await asyncio.to_thread(_share_of_plain, program))
        actions = await client.new_actions(_ACTIONS, [f"./{name}"], blobs.digest_of(root))
        before, began = serving.cpu_seconds, time.perf_counter()
        responses = await asyncio.gather(*map(client.execute, actions))
        wall = time.perf_counter() - began
        cpu.append((serving.cpu_seconds - before) / _ACTIONS)
        shares["server"].append(sum(map(cpu_seconds, responses)) / (_SLOTS * wall))
    what = f"{_ACTIONS} actions of 50 ms on {_SLOTS} slots"
    return [
        Result(f"{what}: their CPU to slots × time", "plain", "ratio", shares["plain"]),
        Result(
            f"{what}: their CPU to slots × time", "server", "ratio", shares["server"], floor=0.85
        ),
        Result(f"{what}: the server's CPU for each", "server", "s", cpu),
    ]


def _share_of_plain(program: Path) -> float:
    before, began = getrusage(RUSAGE_CHILDREN), time.perf_counter()
    with ThreadPoolExecutor(_SLOTS) as pool:
        for _ in range(_ACTIONS):
            pool.submit(subprocess.run, [program], check=True)
    wall, after = time.perf_counter() - began, getrusage(RUSAGE_CHILDREN)
    cpu = after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime
    return cpu / (_SLOTS * wall)


def _compiled(scratch: Path) -> Path:
    """A program that keeps a core busy for as long as an action of the queue is to take."""
    compiler = shutil.which("cc")
    if compiler is None:
        raise SystemExit("cc is missing; Debian has it in the package gcc")
    program = scratch / "busy"
    command = [compiler, "-O2", "-x", "c", "-o", str(program), "-"]
    subprocess.run(command, input=_BUSY % _ACTION_CPU_S, text=True, check=True)
    return program
