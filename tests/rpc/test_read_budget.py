"""How reads share memory: sizes of messages, places, and who is ended when others wait."""

from __future__ import annotations

import asyncio
from contextlib import suppress

from hypothesis import given
from hypothesis import strategies as st

from reapi_local.clock import ManualClock
from reapi_local.rpc.read_budget import Read, ReadBudget

MIB = 1024 * 1024


def budget_of(reads: int, clock: ManualClock | None = None) -> ReadBudget:
    return ReadBudget(clock or ManualClock(), reads, 32 * MIB)


async def until_waiting(budget: ReadBudget, waiting: int) -> None:
    while budget.places.waiting < waiting:  # noqa: ASYNC110 - some steps of the loop, no time
        await asyncio.sleep(0)


@given(st.lists(st.tuples(st.integers(0, 30), st.sampled_from(["next", "end"])), max_size=200))
def test_messages_of_all_reads_stay_within_the_budget(steps: list[tuple[int, str]]) -> None:
    async def run() -> None:
        budget, reads, sizes = budget_of(1024), dict[int, Read](), dict[int, int]()
        for number, step in steps:
            read = reads.get(number) or await budget.begin()
            reads[number] = read
            sizes[number] = budget.next_message(read, MIB)
            assert 64 * 1024 <= sizes[number] <= MIB
            if step == "end":
                budget.end(reads.pop(number))
                del sizes[number]
            assert sum(sizes.values()) <= 32 * MIB + len(sizes) * 64 * 1024
        for read in reads.values():
            budget.end(read)
        assert budget.next_message(await budget.begin(), MIB) == MIB

    asyncio.run(run())


async def test_messages_get_smaller_as_more_reads_go_on() -> None:
    budget = budget_of(1024)
    sizes = [budget.next_message(await budget.begin(), MIB) for _ in range(400)]
    assert sizes[0] == MIB
    assert sizes == sorted(sizes, reverse=True)
    assert sizes[-1] < 66 * 1024


async def test_a_read_waits_for_a_place_and_gets_the_next_one() -> None:
    budget = budget_of(1)
    first = await budget.begin()
    second, third = (asyncio.ensure_future(budget.begin()) for _ in range(2))
    await until_waiting(budget, 2)
    budget.end(first)
    budget.end(await second)
    await third


async def test_a_read_that_left_while_it_waited_takes_no_place() -> None:
    budget = budget_of(1)
    first = await budget.begin()
    second, third = (asyncio.ensure_future(budget.begin()) for _ in range(2))
    await until_waiting(budget, 2)
    second.cancel()
    budget.end(first)
    budget.end(await third)
    await budget.begin()


async def test_a_stalled_read_makes_room_for_one_that_waits_and_a_moving_one_does_not() -> None:
    clock = ManualClock()
    budget = budget_of(2, clock)
    begun = asyncio.Queue[Read]()

    async def reader() -> None:
        read = await budget.begin()
        try:
            begun.put_nowait(read)
            await asyncio.Event().wait()
        finally:
            budget.end(read)

    stalled, moving = asyncio.create_task(reader()), asyncio.create_task(reader())
    await begun.get()
    moves = await begun.get()
    waits = asyncio.create_task(reader())
    await until_waiting(budget, 1)
    clock.advance(9)
    budget.next_message(moves, MIB)
    clock.advance(1)
    with suppress(asyncio.CancelledError):
        await stalled
    await begun.get()
    assert stalled.cancelled()
    assert not moving.done()
    for task in (moving, waits):
        task.cancel()
    await asyncio.gather(moving, waits, return_exceptions=True)
