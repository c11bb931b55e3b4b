"""Every call passes this interceptor: authentication, authorization, decoding, errors, events.

A call is authenticated as soon as its headers are there. On grpcio the handlers are called then,
and read the request afterwards. The native transport passes requests on; it has refused strangers
before it read any.

It makes the call's :class:`~reapi_local.context.Context`. The handlers behind it are plain async
functions ``(request, context) -> response`` and don't know the transport. Requests are decoded
here, because the transports answer malformed requests with INTERNAL or UNKNOWN, which clients
retry.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterable
from contextlib import aclosing
from typing import Any, Final, NoReturn, TypeVar

import grpc

from reapi_local.access.access_control import AccessControl
from reapi_local.access.principal import Principal
from reapi_local.clock import Clock
from reapi_local.context import Context, raw_metadata
from reapi_local.errors import (
    Code,
    Draining,
    InvalidRequest,
    ReapiError,
    Unauthenticated,
    unexpected,
)
from reapi_local.events import CallEnded, EventStream
from reapi_local.rpc.in_flight import TURN_BYTES, InFlight
from reapi_local.rpc.methods import Method
from reapi_local.threads import LONG_BYTES

_log = logging.getLogger(__name__)
_STATUS: Final = {code.value[0]: code for code in grpc.StatusCode}
_MAX_DETAILS: Final = 600
"""Clients accept 8 KiB of headers, and percent-encoding makes a message up to 12 times longer."""

Request = TypeVar("Request")
Response = TypeVar("Response")
GrpcCall = grpc.aio.ServicerContext[Any, Any]
"""What gRPC calls the context of a call: it has the headers and can end the call."""

Sent = bytes | AsyncIterator[bytes]
"""The one request of a call, or, on grpcio, the messages of the call, none of them read yet."""

Headers = Iterable[tuple[str, str | bytes]]
Parse = Callable[[bytes], Request]
Unary = Callable[[Request, Context], Awaitable[Response]]
Streaming = Callable[[Request, Context], AsyncGenerator[Response, None]]


class Interceptor:
    """Wraps handlers for a gRPC server."""

    def __init__(
        self, access: AccessControl, events: EventStream, clock: Clock, in_flight: InFlight
    ) -> None:
        self.access, self.events, self.clock, self.in_flight = access, events, clock, in_flight
        self.is_draining = False

    def drain(self) -> None:
        """Refuse new calls from now on; calls in flight continue."""
        self.is_draining = True

    def refusal(self, grpc_call: GrpcCall) -> Unauthenticated | None:
        """Why a call of another service is a stranger's; None = it is not."""
        try:
            self.access.authenticate(_authorization(grpc_call.invocation_metadata() or ()))
        except Unauthenticated as error:
            return error
        return None

    def unary(
        self, method: Method, handler: Unary[Request, Response], parse: Parse[Request]
    ) -> Callable[[Sent, GrpcCall], Awaitable[bytes]]:
        """For methods with one request and one response."""

        async def serve(sent: Sent, grpc_call: GrpcCall) -> bytes:
            call = _Call(self, method, grpc_call)
            try:
                raw = sent if isinstance(sent, bytes) else await call.first_message()
                if len(raw) <= TURN_BYTES:
                    answer = await handler(*call.admit(parse, raw))
                else:
                    async with self.in_flight.turn(len(raw)):
                        answer = await handler(*call.admit(parse, raw))
                response = call.encoded(answer)
                call.code = Code.OK
                return response
            except Exception as error:
                await call.abort(error)
            finally:
                call.end()

        return serve

    def client_streaming(
        self,
        method: Method,
        handler: Unary[AsyncIterator[Request], Response],
        parse: Parse[Request],
    ) -> Callable[[AsyncIterator[bytes], GrpcCall], Awaitable[Response]]:
        """For methods with a stream of requests, of which the first names the instance."""

        async def serve(_: AsyncIterator[bytes], grpc_call: GrpcCall) -> Response:
            call = _Call(self, method, grpc_call)
            try:
                request, context = call.admit(parse, await call.first_message())
                requests = _Stream(request, grpc_call, parse)
                del request
                response = await handler(requests, context)
                call.code = Code.OK
                return response
            except Exception as error:
                await call.abort(error)
            finally:
                call.end()

        return serve

    def server_streaming(
        self, method: Method, handler: Streaming[Request, Response], parse: Parse[Request]
    ) -> Callable[[Sent, GrpcCall], AsyncGenerator[Response, None]]:
        """For methods with a stream of responses."""

        async def serve(sent: Sent, grpc_call: GrpcCall) -> AsyncGenerator[Response, None]:
            call = _Call(self, method, grpc_call)
            try:
                raw = sent if isinstance(sent, bytes) else await call.first_message()
                async with aclosing(handler(*call.admit(parse, raw))) as responses:
                    async for response in responses:
                        yield response
                call.code = Code.OK
            except Exception as error:
                await call.abort(error)
            finally:
                call.end()

        return serve


class _Call:
    """One call, from its headers to its status. The status is CANCELLED until set otherwise."""

    def __init__(self, interceptor: Interceptor, method: Method, grpc_call: GrpcCall) -> None:
        self._interceptor, self._method, self._grpc_call = interceptor, method, grpc_call
        self._headers = grpc_call.invocation_metadata() or ()
        self._raw_metadata = raw_metadata(self._headers)
        self._began = interceptor.clock.monotonic()
        self._principal: Principal | None = None
        self._context: Context | None = None
        self.code: int = Code.CANCELLED
        interceptor.events.emit(method.began)

    def authenticate(self) -> Principal:
        """The principal who makes the call.

        Raises:
            Draining, Unauthenticated: the call is refused.
        """
        if self._interceptor.is_draining:
            raise Draining
        self._principal = self._interceptor.access.authenticate(_authorization(self._headers))
        return self._principal

    async def first_message(self) -> bytes:
        """Authenticate the call, and only then let gRPC take in its first message.

        It is read by the call itself: the iterator of gRPC makes a generator for each call, which
        the event loop has to close.

        Raises:
            Draining, Unauthenticated, InvalidRequest: the call is refused.
        """
        self.authenticate()
        message = await self._grpc_call.read()
        if not isinstance(message, bytes):  # grpc.aio.EOF
            raise InvalidRequest("the call ended before its first message")
        return message

    def admit(self, parse: Parse[Request], raw: bytes) -> tuple[Request, Context]:
        """The decoded request, and the context of the call.

        Raises:
            Draining, Unauthenticated, Busy, InvalidRequest, PermissionDenied: the call is refused.
        """
        principal = self._principal or self.authenticate()
        if len(raw) > LONG_BYTES:
            self._interceptor.in_flight.check(len(raw))
        request = parse(raw)
        instance = self._method.instance_of(request)
        self._interceptor.access.authorize(principal, self._method.verb, instance)
        self._context = Context(principal, instance or "", self._raw_metadata)
        return request, self._context

    def encoded(self, response: Any) -> bytes:
        """The response, which may be bytes already, in the form in which the transport holds it.

        Raises:
            Busy: it is long, and clients have not taken too much of the ones before.
        """
        raw: bytes = response if isinstance(response, bytes) else response.SerializeToString()
        if len(raw) > LONG_BYTES:
            self._interceptor.in_flight.check(len(raw))
            self._interceptor.in_flight.hand_over(self._grpc_call.peer(), len(raw))
        return raw

    async def abort(self, error: Exception) -> NoReturn:
        """End the call with the status for ``error``. Only here do errors become statuses."""
        if isinstance(error, grpc.aio.AbortError):
            raise error
        if not isinstance(error, ReapiError):
            error = unexpected(error, self._method.name, _log)
        self.code = error.code
        await self._grpc_call.abort(_STATUS[error.code], _shortened(str(error)))
        raise error

    def end(self) -> None:
        """Emit the event."""
        interceptor = self._interceptor
        seconds = interceptor.clock.monotonic() - self._began
        interceptor.events.emit(
            CallEnded(self._method.name, self.code, seconds, self._raw_metadata, self._context)
        )


def _authorization(headers: Headers) -> bytes | None:
    for name, value in headers:
        if name == "authorization":
            return value if isinstance(value, bytes) else str(value).encode()
    return None


class _Stream(AsyncIterator[Request]):
    """The requests of a call. It keeps none of them, as it may wait for the next one for long.

    It reads from the call itself, for the reason that :meth:`_Call.first_message` has.
    """

    def __init__(self, first: Request, grpc_call: GrpcCall, parse: Parse[Request]) -> None:
        self._first, self._grpc_call, self._parse = [first], grpc_call, parse

    async def __anext__(self) -> Request:
        if self._first:
            return self._first.pop()
        raw = await self._grpc_call.read()
        if not isinstance(raw, bytes):  # grpc.aio.EOF
            raise StopAsyncIteration
        return self._parse(raw)


def _shortened(message: str) -> str:
    """``message`` without its middle if it is too long, as it may quote a request."""
    half = _MAX_DETAILS // 2
    return message if len(message) <= 2 * half else f"{message[:half]} … {message[-half:]}"
