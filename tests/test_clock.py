"""Time behind its seam: timers, and waiting with a limit, without waiting."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reapi_local.clock import Clock, ManualClock, SystemClock, set_within


async def turns() -> None:
    """Let everything happen that is due."""
    for _ in range(10):
        await asyncio.sleep(0)


def noting(called: list[tuple[str, float]], clock: ManualClock, name: str) -> Callable[[], None]:
    return lambda: called.append((name, clock.monotonic()))


def test_a_manual_clock_stands_still_and_advances_both_times() -> None:
    clock = ManualClock(now=1000.0)
    assert (clock.now(), clock.monotonic()) == (1000.0, 0.0)
    clock.advance(1.5)
    clock.advance(0)
    assert (clock.now(), clock.monotonic()) == (1001.5, 1.5)


def test_calls_are_made_in_the_order_they_are_due_each_at_its_own_time() -> None:
    clock, called = ManualClock(now=1000.0), list[tuple[str, float]]()
    for name, seconds in (("c", 3.0), ("a", 1.0), ("later", 3.1), ("b", 2.0)):
        clock.call_later(seconds, noting(called, clock, name))
    clock.call_later(2.0, lambda: called.append(("epoch", clock.now())))
    clock.advance(3.0)
    assert called == [("a", 1.0), ("b", 2.0), ("epoch", 1002.0), ("c", 3.0)]
    assert clock.timers == 1
    clock.advance(0.5)
    assert called[-1] == ("later", 3.1)
    assert (clock.monotonic(), clock.timers) == (3.5, 0)


def test_calls_due_at_the_same_time_are_made_in_the_order_they_came() -> None:
    clock, called = ManualClock(), list[tuple[str, float]]()
    for name in "dabc":
        clock.call_later(1.0, noting(called, clock, name))
    clock.advance(1.0)
    assert [name for name, _ in called] == list("dabc")


def test_no_call_is_made_before_time_passes() -> None:
    clock, called = ManualClock(), list[tuple[str, float]]()
    clock.call_later(0.0, noting(called, clock, "at once"))
    clock.call_later(-5.0, noting(called, clock, "overdue"))
    assert called == []
    clock.advance(0)
    assert called == [("at once", 0.0), ("overdue", 0.0)]


def test_a_cancelled_call_is_not_made_and_cancelling_is_harmless_at_any_time() -> None:
    clock, called = ManualClock(), list[tuple[str, float]]()
    made = clock.call_later(1.0, noting(called, clock, "made"))
    cancelled = clock.call_later(1.0, noting(called, clock, "cancelled"))
    cancelled.cancel()
    cancelled.cancel()
    assert clock.timers == 1
    clock.advance(2.0)
    made.cancel()
    clock.advance(2.0)
    assert called == [("made", 1.0)]


def test_a_call_may_cancel_another_that_is_due_at_the_same_time() -> None:
    clock, called = ManualClock(), list[tuple[str, float]]()

    def cancel_second() -> None:
        second.cancel()

    clock.call_later(1.0, cancel_second)
    second = clock.call_later(1.0, noting(called, clock, "second"))
    clock.advance(1.0)
    assert called == []


def test_a_call_that_asks_for_another_gets_it_within_the_same_advance() -> None:
    clock, called = ManualClock(), list[tuple[str, float]]()

    def again() -> None:
        called.append(("again", clock.monotonic()))
        clock.call_later(10.0, again)

    clock.call_later(10.0, again)
    clock.advance(35.0)
    assert called == [("again", 10.0), ("again", 20.0), ("again", 30.0)]
    assert (clock.monotonic(), clock.timers) == (35.0, 1)


delays = st.lists(st.integers(0, 20), max_size=10)


@given(delays, delays)
def test_however_time_is_cut_the_same_calls_are_made_at_the_same_times(
    delays: list[int], steps: list[int]
) -> None:
    called = []
    for cut in ([sum(steps)], steps):
        clock, mine = ManualClock(), list[tuple[str, float]]()
        for number, delay in enumerate(delays):
            clock.call_later(delay, noting(mine, clock, str(number)))
        for step in cut or [0]:
            clock.advance(step)
        called.append(mine)
    assert called[0] == called[1]
    assert called[0] == sorted(called[0], key=lambda entry: entry[1])
    assert len(called[0]) == sum(delay <= sum(steps) for delay in delays)


@pytest.mark.parametrize("clock", [ManualClock(), SystemClock()], ids=["manual", "system"])
async def test_an_event_that_is_set_or_a_limit_of_nothing_takes_no_wait(clock: Clock) -> None:
    happened, never = asyncio.Event(), asyncio.Event()
    happened.set()
    for seconds in (-1.0, 0.0, 1e9):
        assert await set_within(happened, seconds, clock)
    assert not await set_within(never, 0.0, clock)
    assert not await set_within(never, -1.0, clock)


async def test_a_wait_ends_without_the_event_when_its_time_is_over_and_not_before() -> None:
    clock, never = ManualClock(), asyncio.Event()
    waiting = asyncio.create_task(set_within(never, 10.0, clock))
    await turns()
    clock.advance(9.9)
    await turns()
    assert not waiting.done()
    clock.advance(0.1)
    assert not await waiting
    assert clock.timers == 0


@pytest.mark.parametrize("clock", [ManualClock(), SystemClock()], ids=["manual", "system"])
async def test_a_wait_ends_with_the_event(clock: Clock) -> None:
    event = asyncio.Event()
    waiting = asyncio.create_task(set_within(event, 1e6, clock))
    await turns()
    assert not waiting.done()
    event.set()
    assert await waiting
    if isinstance(clock, ManualClock):
        assert clock.timers == 0, "its timer is cancelled"


async def test_a_wait_on_the_machines_clock_ends_when_its_time_is_over() -> None:
    assert not await set_within(asyncio.Event(), 1e-6, SystemClock())


async def test_an_event_set_in_the_moment_the_time_is_over_counts() -> None:
    clock, event = ManualClock(), asyncio.Event()
    waiting = asyncio.create_task(set_within(event, 1.0, clock))
    await turns()
    clock.advance(1.0)
    event.set()
    assert await waiting


async def test_a_wait_that_is_cancelled_leaves_no_timer_and_nobody_waiting() -> None:
    clock, event = ManualClock(), asyncio.Event()
    before = asyncio.all_tasks()
    waiting = asyncio.create_task(set_within(event, 1.0, clock))
    await turns()
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    await turns()
    assert clock.timers == 0
    assert asyncio.all_tasks() == before
    clock.advance(2.0)


async def test_many_wait_for_one_event_each_with_its_own_limit() -> None:
    clock, event = ManualClock(), asyncio.Event()
    waits = [asyncio.create_task(set_within(event, 1.0 + n, clock)) for n in range(5)]
    await turns()
    clock.advance(3.0)
    await turns()
    assert [waiting.done() for waiting in waits] == [True] * 3 + [False] * 2
    event.set()
    assert await asyncio.gather(*waits) == [False] * 3 + [True] * 2


async def test_the_machines_clock_calls_later_on_the_loop_and_cancels() -> None:
    clock, called = SystemClock(), asyncio.Event()
    cancelled = asyncio.Event()
    clock.call_later(0.0, cancelled.set).cancel()
    clock.call_later(0.0, called.set)
    await called.wait()
    assert not cancelled.is_set()
