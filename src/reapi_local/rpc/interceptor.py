"""The interceptor every call passes: token, draining, run, decoding, error to status, count.

Behind it handlers are plain async functions ``(request, call) -> response``; nothing in them
knows which transport carries them. Requests are decoded here and not by the transports: those
answer what can't be decoded with INTERNAL or UNKNOWN, which clients retry.
"""

from __future__ import annotations

import asyncio
import hmac
import logging
import secrets
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing
from typing import Any, Final, NoReturn, TypeVar

import grpc

from reapi_local.errors import Draining, ReapiError, ResultNotFound, Unauthenticated
from reapi_local.observe.tally import Tally
from reapi_local.rpc.call import Call, run_from

_log = logging.getLogger(__name__)
_STATUS = {code.value[0]: code for code in grpc.StatusCode}
_MAX_DETAILS: Final = 600
"""A longer message, percent-encoded, passes what clients accept as headers: 8 KiB."""

Raw = TypeVar("Raw")
Request = TypeVar("Request")
Response = TypeVar("Response")
Context = grpc.aio.ServicerContext[Any, Any]
Unary = Callable[[Request, Call], Awaitable[Response]]
Streaming = Callable[[Request, Call], AsyncGenerator[Response, None]]


class Interceptor:
    """Wraps handlers for a gRPC server.

    ``tokens`` maps each accepted bearer token to the name of its holder.
    """

    def __init__(self, tokens: dict[str, str], tally: Tally) -> None:
        self._callers = {f"Bearer {token}".encode(): name for token, name in tokens.items()}
        self._tally = tally
        self._draining = False

    def drain(self) -> None:
        """From now on refuse new calls; those in flight go on."""
        self._draining = True

    def unary(
        self, method: str, handler: Unary[Request, Response], parse: Callable[[Raw], Request]
    ) -> Callable[[Raw, Context], Awaitable[Response]]:
        """For methods that answer with one message, whether or not the request is a stream."""

        async def serve(request: Raw, context: Context) -> Response:
            headers = context.invocation_metadata() or ()
            run, failed = run_from(headers), True
            self._tally.begin_call()
            try:
                call = Call(self._admit(headers), run)
                response = await handler(parse(request), call)
                failed = False
                return response
            except Exception as error:
                failed = not isinstance(error, ResultNotFound)  # a miss is an answer
                await _abort(context, method, error)
            finally:
                self._tally.count_call(method, run.tool, failed=failed)

        return serve

    def streaming(
        self, method: str, handler: Streaming[Request, Response], parse: Callable[[Raw], Request]
    ) -> Callable[[Raw, Context], AsyncGenerator[Response, None]]:
        """For methods that answer with a stream."""

        async def serve(request: Raw, context: Context) -> AsyncGenerator[Response, None]:
            headers = context.invocation_metadata() or ()
            run, failed = run_from(headers), True
            self._tally.begin_call()
            try:
                call = Call(self._admit(headers), run)
                async with aclosing(handler(parse(request), call)) as responses:
                    async for response in responses:
                        yield response
                failed = False
            except (asyncio.CancelledError, GeneratorExit):
                failed = False  # the client has what it wanted, or wants it no more
                raise
            except Exception as error:
                await _abort(context, method, error)
            finally:
                self._tally.count_call(method, run.tool, failed=failed)

        return serve

    def _admit(self, headers: Any) -> str:
        """Who calls, when that is somebody who may and the server takes calls."""
        if self._draining:
            raise Draining("the server is stopping; try again when it is back")
        for name, value in headers:
            if name == "authorization":
                given = str(value).encode()
                for accepted, caller in self._callers.items():
                    if hmac.compare_digest(accepted, given):
                        return caller
                raise Unauthenticated(
                    "the token isn't one of this server's; `reapi-local up` prints the right one"
                )
        raise Unauthenticated(
            "the call has no token; send the header `authorization: Bearer TOKEN` "
            "(`reapi-local up` prints it)"
        )


async def _abort(context: Context, method: str, error: Exception) -> NoReturn:
    """Answer with the status that fits; only here do errors become statuses."""
    if isinstance(error, ReapiError):
        await context.abort(_STATUS[error.code], _brief(str(error)))
    if isinstance(error, (grpc.aio.AbortError, asyncio.CancelledError)):
        raise error
    reference = secrets.token_hex(4)
    _log.error("%s failed (%s)", method, reference, exc_info=error)
    await context.abort(
        grpc.StatusCode.INTERNAL,
        f"the server failed unexpectedly; its log says why under {reference}",
    )
    raise error


def _brief(message: str) -> str:
    """``message`` without its middle when it quotes too much of a request."""
    half = _MAX_DETAILS // 2
    return message if len(message) <= 2 * half else f"{message[:half]} … {message[-half:]}"
