"""Leases: who holds what, and until when."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from reapi_local.clock import ManualClock
from reapi_local.store.local.leases import Leases

SECONDS = 80.0
A, B, C = b"\1a", b"\1b", b"\1c"


def test_a_lease_ends_when_its_run_was_silent_for_so_long() -> None:
    clock = ManualClock()
    leases = Leases(clock, SECONDS)
    leases.add("run", [A])
    clock.advance(SECONDS - 1)
    assert leases.leased() == {A}
    leases.add("run", [B])
    clock.advance(SECONDS - 1)
    assert leases.leased() == {A, B}, "the second call renewed both"
    clock.advance(1)
    assert leases.leased() == set()


def test_runs_hold_the_same_key_each_for_itself() -> None:
    clock = ManualClock()
    leases = Leases(clock, SECONDS)
    leases.add("one", [A, B])
    clock.advance(SECONDS / 2)
    leases.add("two", [B])
    clock.advance(SECONDS / 2)
    assert leases.leased() == {B}


def test_calls_without_a_run_don_t_renew_each_other_for_ever() -> None:
    clock = ManualClock()
    leases = Leases(clock, SECONDS)
    leases.add("", [A])
    for _ in range(20):
        clock.advance(SECONDS / 16)
        leases.add("", [B])
    assert leases.leased() == {B}


def test_what_ended_counts_as_recent_once() -> None:
    clock = ManualClock()
    leases = Leases(clock, SECONDS)
    leases.add("run", [A])
    assert leases.take_recent() == set()
    clock.advance(SECONDS)
    leases.add("other", [B])
    assert leases.take_recent() == {A}
    assert leases.take_recent() == set()


def test_a_follower_sees_what_was_leased_and_what_comes() -> None:
    clock = ManualClock()
    leases = Leases(clock, SECONDS)
    leases.add("run", [A])
    with leases.follow() as followed:
        assert followed == [A]
        leases.add("run", [A, B])
        leases.add("other", [C])
        clock.advance(2 * SECONDS)
        leases.add("third", [A])
        assert followed == [A, B, C, A]
    leases.add("run", [C])
    assert followed == [A, B, C, A]


def test_two_followers_don_t_end_each_other() -> None:
    leases = Leases(ManualClock(), SECONDS)
    with leases.follow() as outer:
        with leases.follow():
            pass
        leases.add("run", [A])
        assert outer == [A]


steps = st.lists(
    st.tuples(
        st.sampled_from(["", "one", "two"]),
        st.sets(st.sampled_from([bytes((1, n)) for n in range(6)])),
        st.floats(0, SECONDS),
    ),
    max_size=40,
)


@given(steps)
def test_no_key_is_let_go_early_or_held_much_too_long(
    calls: list[tuple[str, set[bytes], float]],
) -> None:
    clock = ManualClock()
    leases = Leases(clock, SECONDS)
    held: list[tuple[str, set[bytes], float]] = []
    last: dict[str, float] = {}
    with leases.follow() as followed:
        for run, keys, pause in calls:
            leases.add(run, keys)
            now = clock.monotonic()
            if run and now - last.get(run, now) >= SECONDS:
                held = [entry for entry in held if entry[0] != run]
            last[run] = now
            held.append((run, keys, now))
            clock.advance(pause)

            now = clock.monotonic()
            certain = {
                key
                for run, keys, since in held
                for key in keys
                if now < (last[run] if run else since) + SECONDS
            }
            possible = {
                key
                for run, keys, since in held
                for key in keys
                if now < (last[run] if run else since + SECONDS / 8) + SECONDS
            }
            assert certain <= leases.leased() <= possible
            assert leases.leased() <= set(followed)
