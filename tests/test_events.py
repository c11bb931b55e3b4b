"""The stream of events: every subscriber is told, whatever another one does."""

from __future__ import annotations

import logging
from collections.abc import Callable

import pytest

from reapi_local.events import CallBegan, EventStream, GenerationEvicted

EVENT, OTHER = CallBegan("ActionCache/GetActionResult"), GenerationEvicted(1, 20, 10)


def test_subscribers_are_told_in_the_order_they_came() -> None:
    stream, told = EventStream(), list[tuple[str, CallBegan]]()

    def subscriber(name: str) -> Callable[[CallBegan], None]:
        return lambda event: told.append((name, event))

    for name in ("first", "second", "third"):
        stream.subscribe(CallBegan, subscriber(name))
    stream.emit(EVENT)
    assert told == [("first", EVENT), ("second", EVENT), ("third", EVENT)]


def test_a_subscriber_is_told_only_of_the_type_it_asked_for() -> None:
    stream, begun, evicted = EventStream(), list[CallBegan](), list[GenerationEvicted]()
    stream.subscribe(CallBegan, begun.append)
    stream.subscribe(GenerationEvicted, evicted.append)
    stream.emit(EVENT)
    stream.emit(OTHER)
    assert (begun, evicted) == ([EVENT], [OTHER])


def test_an_event_that_nobody_asked_for_is_no_error() -> None:
    stream, begun = EventStream(), list[CallBegan]()
    stream.subscribe(CallBegan, begun.append)
    stream.emit(OTHER)
    assert begun == []


def test_a_subscriber_that_raises_disturbs_nobody_and_is_logged_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    stream, before, after = EventStream(), list[CallBegan](), list[CallBegan]()

    def broken(event: CallBegan) -> None:
        raise RuntimeError(f"no room for {event.method}")

    stream.subscribe(CallBegan, before.append)
    stream.subscribe(CallBegan, broken)
    stream.subscribe(CallBegan, after.append)
    with caplog.at_level(logging.ERROR):
        for _ in range(3):
            stream.emit(EVENT)
    assert before == after == [EVENT] * 3
    (record,) = caplog.records
    assert record.getMessage() == "a subscriber failed on CallBegan"
    assert "no room for ActionCache/GetActionResult" in caplog.text


def test_each_subscriber_that_raises_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    stream = EventStream()

    def one(event: object) -> None:
        raise RuntimeError("one")

    def other(event: object) -> None:
        raise RuntimeError("other")

    stream.subscribe(CallBegan, one)
    stream.subscribe(CallBegan, other)
    with caplog.at_level(logging.ERROR):
        stream.emit(EVENT)
        stream.emit(EVENT)
    assert len(caplog.records) == 2


def test_one_that_subscribes_while_an_event_is_told_hears_of_the_next() -> None:
    stream, late = EventStream(), list[CallBegan]()

    def first(event: CallBegan) -> None:
        if event == EVENT:
            stream.subscribe(CallBegan, late.append)

    stream.subscribe(CallBegan, first)
    stream.emit(EVENT)
    assert late == []
    stream.emit(CallBegan("Execution/Execute"))
    assert late == [CallBegan("Execution/Execute")]
