"""Serves calls on pygrpc-native, whose HTTP/2 runs in Rust, outside the interpreter lock.

It uses the library's low-level interface. The library's own asyncio server holds 4 MiB for each
reader that doesn't read, or blocks a thread for it; here a stream waits on the event loop, and at
most two of its messages are in memory. The library refuses calls without a token before it reads
their requests. Methods with a stream of requests go to the grpcio server
behind it, on a Unix socket.

What the library decides alone: a connection ends with GOAWAY (ENHANCE_YOUR_CALM, too_many_resets)
when its client cancels more than 20 calls before the server has read them, against CVE-2023-44487.
The number is h2's own, and the library passes no option for it; calls that were read may be
cancelled in any number. Headers of more than 16 KiB are answered with HTTP status 431, so gRPC
clients see UNKNOWN.

Source: pygrpc-native 0.5, docs/low-level-api.md.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Collection, Iterable, Mapping, Sequence
from contextlib import aclosing, suppress
from functools import partial
from hashlib import sha256
from typing import Any, Final, NoReturn, TypeAlias

import grpc
from pygrpc_native import EVENT_CANCEL, STREAM_FULL, STREAM_SENT, NativeGrpcFront

_log = logging.getLogger(__name__)

_EVENTS_AT_ONCE: Final = 64
_SHORTEST_WAIT: Final = 0.0005
_LONGEST_WAIT: Final = 0.1
_REFUSED: Final = (
    "the call has no token, or one that this server doesn't know; send the header `authorization: "
    "Bearer TOKEN` (`reapi-local token show` prints it). Clients that can send the token only as "
    "the password of HTTP Basic, and health checks without a token, need a server with the setting "
    "transport = grpcio (`--transport grpcio`)"
)

Handler: TypeAlias = "grpc.RpcMethodHandler[Any, Any]"
Event = tuple[int, int, int, bytes | None, Any, Any]


class NativeCall:
    """What the interceptor needs of a call: its headers, and a way to end it with a status."""

    def __init__(self, headers: Sequence[tuple[str, str | bytes]], peer: str) -> None:
        self._headers, self._peer = headers, peer
        self.status = grpc.StatusCode.UNKNOWN
        self.details = ""

    def invocation_metadata(self) -> Sequence[tuple[str, str | bytes]]:
        """The headers that the client sent, names in lower case."""
        return self._headers

    def peer(self) -> str:
        """The client's address, as grpcio writes it: ``ipv4:127.0.0.1:40000``."""
        return self._peer

    async def abort(self, code: grpc.StatusCode, details: str) -> NoReturn:
        """End the call with this status. Raises AbortError, as grpcio does."""
        self.status, self.details = code, details
        raise grpc.aio.AbortError


class _Method:
    """A handler in the form in which it is called."""

    def __init__(self, handler: Handler) -> None:
        self.is_stream: bool = handler.response_streaming
        self.call: Any = handler.unary_stream if self.is_stream else handler.unary_unary
        self.serialize: Any = handler.response_serializer


class NativeServer:
    """Methods with one request, by path; what it doesn't know goes to ``fallback_socket``.

    A call without one of ``tokens`` is refused before its request is read. They can't be replaced
    later.
    """

    def __init__(
        self,
        handlers: Mapping[str, Handler],
        tokens: Collection[str],
        max_message_bytes: int,
        max_streams: int,
        reuse_port: bool,
    ) -> None:
        self._handlers = [_Method(handler) for handler in handlers.values()]
        self._methods = [(path, handler.response_streaming) for path, handler in handlers.items()]
        self._digests = [sha256(token.encode()).digest() for token in tokens]
        self._max_message_bytes = max_message_bytes
        self._max_streams = max_streams
        self._reuse_port = reuse_port
        self._calls: dict[int, asyncio.Task[None]] = {}
        self._cancelled = grpc.StatusCode.CANCELLED, "the call was cancelled"
        """The status of a call whose task is cancelled. A client that did it doesn't hear of it."""
        self._front: Any = None
        self._loop: asyncio.AbstractEventLoop | None = None

    def bind(self, address: str) -> int:
        """Bind ``address`` (host:port, port 0 = any); returns the port.

        Raises:
            RuntimeError: the address can't be used. grpcio raises the same.
        """
        try:
            self._front = NativeGrpcFront(
                address,
                self._methods,
                call_details=True,
                delay_stream_headers=True,
                bearer_token_sha256=self._digests,
                unauthenticated_message=_REFUSED,
                max_concurrent_streams=self._max_streams,
                metrics=True,
                reuse_port=self._reuse_port,
            )
        except OSError as error:
            raise RuntimeError(f"{address} can't be used: {error}") from error
        port: int = self._front.bound_port
        return port

    def start(self, fallback_socket: str) -> None:
        """Serve calls on the running event loop."""
        self._loop = asyncio.get_running_loop()
        self._front.set_fallback(fallback_socket)
        self._front.start()
        threading.Thread(target=self._receive, name="native-grpc", daemon=True).start()

    async def finish(self, grace_seconds: float) -> None:
        """Give calls in flight ``grace_seconds``, and their clients time to take the answers."""
        assert self._loop is not None
        deadline = self._loop.time() + grace_seconds
        if calls := list(self._calls.values()):
            await asyncio.wait(calls, timeout=grace_seconds)
        self._cancelled = (
            grpc.StatusCode.UNAVAILABLE,
            "the server stopped; try again when it is back",
        )
        for call in (calls := list(self._calls.values())):
            call.cancel()
        await asyncio.gather(*calls, return_exceptions=True)
        # The library has no event for it.
        while self._answers_under_way() and self._loop.time() < deadline:  # noqa: ASYNC110
            await asyncio.sleep(_LONGEST_WAIT)

    def _answers_under_way(self) -> bool:
        """Whether a client has not taken all of an answer yet; the library counts those it has."""
        return any(
            method["started"] > sum(status["count"] for status in method["status"].values())
            for method in self._front.metrics()["methods"].values()
        )

    async def close(self) -> None:
        """Close all connections, those of calls to the server behind it too."""
        await asyncio.to_thread(self._front.close)

    def _receive(self) -> None:
        """The thread that takes calls from the library to the event loop."""
        assert self._loop is not None
        while (events := self._front.recv_batch_details(_EVENTS_AT_ONCE)) is not None:
            try:
                self._loop.call_soon_threadsafe(self._on_events, events)
            except RuntimeError:  # the loop was closed without a stop
                self._front.close()
                return

    def _on_events(self, events: Iterable[Event]) -> None:
        assert self._loop is not None
        for kind, call_id, method, request, _, details in events:
            if kind != EVENT_CANCEL:
                serving = self._serve(call_id, self._handlers[method], request, details)
                self._calls[call_id] = self._loop.create_task(serving)
            elif call := self._calls.get(call_id):
                call.add_done_callback(partial(self._forget, call_id))
                call.cancel()

    def _forget(self, call_id: int, _: asyncio.Task[None]) -> None:
        """For a task that was cancelled before its first step, and so took none."""
        self._calls.pop(call_id, None)

    async def _serve(self, call_id: int, method: _Method, request: Any, details: Any) -> None:
        call = NativeCall(*details[:2])
        try:
            if len(request) > self._max_message_bytes:
                await call.abort(
                    grpc.StatusCode.RESOURCE_EXHAUSTED,
                    f"a message of {len(request)} bytes is larger than the largest one that this "
                    f"server takes, {self._max_message_bytes} bytes; divide the request",
                )
            if method.is_stream:
                await self._stream(call_id, method, request, call)
            else:
                response = method.serialize(await method.call(request, call))
                self._front.respond(call_id, response)
        except grpc.aio.AbortError:
            self._fail(call_id, call.status, call.details)
        except asyncio.CancelledError:
            self._fail(call_id, *self._cancelled)
        except Exception:
            _log.exception("a call failed outside its handler")
            self._fail(call_id, grpc.StatusCode.INTERNAL, "the server failed; its log says why")
        finally:
            self._calls.pop(call_id, None)

    def _fail(self, call_id: int, code: grpc.StatusCode, details: str) -> None:
        with suppress(ValueError):  # the call has ended already
            self._front.fail(call_id, code.value[0], details)

    async def _stream(
        self, call_id: int, method: _Method, request: bytes, call: NativeCall
    ) -> None:
        async with aclosing(method.call(request, call)) as responses:
            async for response in responses:
                if not await self._send(call_id, method.serialize(response)):
                    return
        self._front.stream_end(call_id)

    async def _send(self, call_id: int, message: bytes) -> bool:
        """Send a message when the client has room for it; whether it is still there."""
        sent: int = self._front.stream_try_send(call_id, message)
        wait = 0.0
        while sent == STREAM_FULL:  # the library has no event for "there is room"
            await asyncio.sleep(wait)
            wait = min(max(2 * wait, _SHORTEST_WAIT), _LONGEST_WAIT)
            sent = self._front.stream_try_send(call_id, message)
        return sent == STREAM_SENT
