"""HTTP/1.1 of uvicorn, whose clients have limited time to send the head of a request."""

from __future__ import annotations

import asyncio
from typing import Final

from uvicorn.protocols.http.h11_impl import H11Protocol, RequestResponseCycle

_HEAD_SECONDS: Final = 10.0

_IN_PROGRESS: Final = object()
_BAD_REQUEST: Final = (
    b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\nContent-Type: text/plain; charset=utf-8\r\n"
    b"Content-Length: %d\r\n\r\n%b"
)


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
        """Refuse bytes that are no request, whatever came before them on the connection.

        uvicorn would fail, and log it, if it still answered a request, or one with the method HEAD.
        """
        last: RequestResponseCycle | None = self.cycle
        if last is None or last.response_complete or not last.response_started:
            self.transport.write(_BAD_REQUEST % (len(msg), msg.encode()))
        if last is not None:
            last.disconnected = True
            last.message_event.set()
        self.transport.close()

    def _look(self) -> None:
        last: RequestResponseCycle | None = self.cycle
        now = _IN_PROGRESS if last is not None and not last.response_complete else last
        if now is self._seen and now is not _IN_PROGRESS:
            self.transport.close()
            return
        self._seen = now
        self._looking = self.loop.call_later(_HEAD_SECONDS, self._look)
