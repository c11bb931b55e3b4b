"""How long the server has had nothing to do."""

from __future__ import annotations

from reapi_local.clock import Clock
from reapi_local.context import is_self_check
from reapi_local.events import CallBegan, CallEnded, EventStream


class Idleness:
    """Counts the calls in flight and notes when the last call ended; ignores self-checks."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._in_flight = 0
        self._last_call_at = clock.monotonic()

    def subscribe_to(self, events: EventStream) -> None:
        events.subscribe(CallBegan, self._call_began)
        events.subscribe(CallEnded, self._call_ended)

    @property
    def seconds(self) -> float:
        """Seconds since the last call ended; 0 while a call is in flight."""
        return 0.0 if self._in_flight else self._clock.monotonic() - self._last_call_at

    def _call_began(self, event: CallBegan) -> None:
        self._in_flight += 1

    def _call_ended(self, event: CallEnded) -> None:
        self._in_flight -= 1
        if not is_self_check(event.raw_metadata):
            self._last_call_at = self._clock.monotonic()
