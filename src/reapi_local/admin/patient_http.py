"""HTTP/1.1 of uvicorn, whose clients have limited time to send the head of a request."""

from __future__ import annotations

import asyncio
from typing import Final

from uvicorn.protocols.http.h11_impl import H11Protocol, RequestResponseCycle

_HEAD_SECONDS: Final = 10.0
_BEFORE_A_RESPONSE: Final = ("IDLE", "SEND_RESPONSE")
"""The names of the states of h11 in which it can be told to send one."""

_IN_PROGRESS: Final = object()


class PatientHttp(H11Protocol):
    """Closes a connection that sends no whole request head for ten seconds, or at most twenty.

    uvicorn limits only the time between two requests, which the first byte of the next one ends.
    """

    _looking: asyncio.TimerHandle
    _seen: object = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._looking = self.loop.call_later(_HEAD_SECONDS, self._look)

    def connection_lost(self, exc: Exception | None) -> None:
        self._looking.cancel()
        super().connection_lost(exc)

    def send_400_response(self, msg: str) -> None:
        """Refuse bytes that are no request, also while a request before them is being answered.

        Then that answer is not sent any more: uvicorn would log that it can't.
        """
        last: RequestResponseCycle | None = self.cycle
        if last is not None and not last.response_complete:
            last.disconnected = True
            last.message_event.set()
        if self.conn.our_state.__name__ in _BEFORE_A_RESPONSE:
            super().send_400_response(msg)
        else:
            self.transport.close()

    def _look(self) -> None:
        last: RequestResponseCycle | None = self.cycle
        now = _IN_PROGRESS if last is not None and not last.response_complete else last
        if now is self._seen and now is not _IN_PROGRESS:
            self.transport.close()
            return
        self._seen = now
        self._looking = self.loop.call_later(_HEAD_SECONDS, self._look)
