"""The lifecycle of slots: stopped actions, cancelled callers, killed slots, a killed server."""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import select
import signal
import sys
from pathlib import Path

import pytest

from execute.killed_server import FOREVER
from execute.sandbox_helpers import (
    PATH,
    SOURCES,
    OwnBox,
    SandboxDirectories,
    make_directories,
    own_box,
)
from execute.slot_driver import Seen
from reapi_local.execute.sandbox.host.identity import ACTION_UID
from reapi_local.execute.sandbox.interface import ProcessSpec, SandboxError

_NUMBERS = itertools.count()
OWNER = ACTION_UID if os.getuid() == 0 else os.getuid()


def cache_with_pipe(directories: SandboxDirectories) -> str:
    cache = directories.cache(f"with-pipe-{next(_NUMBERS)}")
    os.mkfifo(Path(cache, "running"))
    directories.give_away(Path(cache))
    return cache


async def until_running(cache: str, count: int = 1) -> None:
    """Wait until ``count`` actions have written to the pipe."""

    def read() -> None:
        with open(Path(cache, "running"), "r+b", buffering=0) as pipe:
            lines = 0
            while lines < count:
                lines += pipe.read(4096).count(b"\n")

    await asyncio.to_thread(read)


def descendants(of: int | None = None) -> set[int]:
    """All descendants of this process, or of process ``of``."""
    parents = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            parents[int(path.parent.name)] = int(path.read_text().rpartition(")")[2].split()[1])
        except OSError:
            continue
    found: set[int] = set()
    new = {of or os.getpid()}
    while new:
        new = {pid for pid, parent in parents.items() if parent in new}
        found |= new
    return found


async def start_forever(box: OwnBox, stop: asyncio.Event | None = None) -> asyncio.Task[Seen]:
    cache = cache_with_pipe(box.directories)
    action = asyncio.create_task(
        box.run("sh", "-c", f"echo partial output; {FOREVER}", stop=stop, caches=cache)
    )
    await until_running(cache)
    return action


async def test_a_stopped_action_is_killed_and_its_output_returned() -> None:
    async with own_box(count=1) as box:
        idle, stop = descendants(), asyncio.Event()
        action = await start_forever(box, stop)
        assert descendants() > idle
        stop.set()
        seen = await action
        assert (seen.stopped, seen.stdout, seen.exit_code) == (True, "partial output\n", 128 + 9)
        assert descendants() == idle
        seen = await box.run("echo", "usable")
        assert (seen.stopped, seen.stdout) == (False, "usable\n")


async def test_a_stop_before_the_start_stops_the_action() -> None:
    async with own_box() as box:
        stop = asyncio.Event()
        stop.set()
        assert (await box.run("sleep", "1000", stop=stop)).stopped


async def test_a_stop_at_the_same_time_as_the_end_does_no_harm() -> None:
    async with own_box(count=1) as box:
        for _ in range(50):
            stop = asyncio.Event()
            action = asyncio.create_task(box.run("true", stop=stop))
            await asyncio.sleep(0)
            stop.set()
            await action
            assert (await box.run("echo", "x")).stdout == "x\n"


async def test_a_cancelled_caller_leaves_no_process_and_no_slot_is_lost() -> None:
    async with own_box(count=1) as box:
        action = await start_forever(box)
        action.cancel()
        with pytest.raises(asyncio.CancelledError):
            await action
        assert not descendants()
        assert (await box.run("echo", "usable")).stdout == "usable\n"


async def test_cancelling_a_caller_at_any_moment_loses_no_slot() -> None:
    async with own_box(count=1) as box:
        for steps in range(30):
            action = asyncio.create_task(box.run("true"))
            for _ in range(steps):
                await asyncio.sleep(0)
            action.cancel()
            await asyncio.wait([action])
        assert (await box.run("echo", "usable")).stdout == "usable\n"


async def test_an_error_of_the_caller_loses_no_slot() -> None:
    async with own_box(count=1) as box:
        spec = ProcessSpec(("true",), PATH)
        with pytest.raises(ZeroDivisionError):
            async with box.sandbox.run(spec, asyncio.Event()):
                raise ZeroDivisionError
        assert (await box.run("echo", "usable")).stdout == "usable\n"


async def test_a_killed_slot_fails_its_action_and_the_next_gets_a_new_one() -> None:
    async with own_box(count=1) as box:
        for victim in (min, max):  # the process outside the pid namespace, then PID 1 inside
            pid = victim(descendants())
            action = await start_forever(box)
            os.kill(pid, signal.SIGKILL)
            with pytest.raises(SandboxError, match="the slot has exited"):
                await action
            assert not descendants()
            assert (await box.run("echo", "usable")).stdout == "usable\n"


async def test_a_slot_killed_while_idle_is_replaced() -> None:
    async with own_box(count=1) as box:
        slot = descendants()
        opened = [os.pidfd_open(pid) for pid in slot]
        os.kill(max(slot), signal.SIGKILL)
        await asyncio.to_thread(wait_for_all, opened)
        assert (await box.run("echo", "usable")).stdout == "usable\n"


async def test_closing_kills_running_actions() -> None:
    async with own_box(count=2) as box:
        action = await start_forever(box)
        await box.sandbox.close()
        with pytest.raises(SandboxError):
            await action
        assert not descendants()
        with pytest.raises(SandboxError, match="closed"):
            await box.run("true")


async def test_a_killed_server_leaves_no_process() -> None:
    count = 20
    with make_directories(OWNER) as directories:
        cache = cache_with_pipe(directories)
        settings = {**directories.arguments, "count": count, "cache": cache}
        program = str(Path(__file__).with_name("killed_server.py"))
        server = await asyncio.create_subprocess_exec(
            *(sys.executable, program, json.dumps(settings)),
            env={**os.environ, "PYTHONPATH": str(SOURCES)},
            stderr=asyncio.subprocess.PIPE,
        )
        running = asyncio.create_task(until_running(cache, count))
        failed = asyncio.create_task(server.wait())
        await asyncio.wait([running, failed], return_when=asyncio.FIRST_COMPLETED)
        if failed.done():
            await asyncio.to_thread(Path(cache, "running").write_text, "\n" * count)
            assert server.stderr is not None
            pytest.skip((await server.stderr.read()).decode().splitlines()[-1])
        processes = descendants(server.pid)
        assert len(processes) >= 4 * count
        opened = [os.pidfd_open(pid) for pid in processes]
        server.kill()
        await failed
        await asyncio.to_thread(wait_for_all, opened)


def wait_for_all(pidfds: list[int]) -> None:
    """Wait until all have exited; hangs until the test times out if one doesn't."""
    for pidfd in pidfds:
        select.select([pidfd], [], [])
        os.close(pidfd)


async def test_no_more_actions_run_at_the_same_time_than_configured() -> None:
    async with own_box(count=2) as box:
        times: list[tuple[int, int]] = []

        async def run(network: bool) -> None:
            spec = ProcessSpec(("sleep", "0.05"), PATH, network=network)
            async with box.sandbox.run(spec, asyncio.Event()) as process_result:
                times.extend(((process_result.started_ns, 1), (process_result.ended_ns, -1)))

        await asyncio.gather(*(run(network=number % 2 == 0) for number in range(6)))
        at_once = max_at_once = 0
        for _, change in sorted(times):
            at_once += change
            max_at_once = max(max_at_once, at_once)
        assert max_at_once == 2


async def test_slots_are_reused() -> None:
    async with own_box(count=1) as box:
        before = descendants()
        for _ in range(5):
            await box.run("true")
        assert descendants() == before


async def test_every_slot_has_its_input_root_at_the_same_path() -> None:
    async with own_box(count=3) as box:
        kinds = [False, True] * 3
        seen = await asyncio.gather(*(box.run("pwd", network=kind) for kind in kinds))
        assert {each.stdout for each in seen} == {f"{box.sandbox.root}\n"}


async def test_a_port_of_the_previous_action_is_free_again() -> None:
    use = (
        "import socket; server = socket.socket(); server.bind(('127.0.0.1', 4321));"
        "server.listen(); client = socket.create_connection(('127.0.0.1', 4321));"
        "server.accept()[0].close(); client.recv(1); client.close()"
    )
    async with own_box(count=1) as box:
        for _ in range(3):
            assert (await box.run("python3", "-c", use)).stderr == ""
