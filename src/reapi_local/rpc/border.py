"""The border every call passes: token, draining, run, error to status, count.

Behind it handlers are plain async functions ``(request, call) -> response``; nothing in them
knows which transport carries them.
"""

from __future__ import annotations

import asyncio
import hmac
import logging
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, NoReturn, TypeVar

import grpc

from reapi_local.errors import Draining, ReapiError, Unauthenticated
from reapi_local.rpc.call import Call, run_from
from reapi_local.trace.tally import Tally

_log = logging.getLogger(__name__)
_STATUS = {code.value[0]: code for code in grpc.StatusCode}

Request = TypeVar("Request")
Response = TypeVar("Response")
Context = grpc.aio.ServicerContext[Any, Any]
Unary = Callable[[Request, Call], Awaitable[Response]]
Streaming = Callable[[Request, Call], AsyncIterator[Response]]


class Border:
    """Wraps handlers for a gRPC server.

    ``tokens`` maps each accepted bearer token to the name of its holder.
    """

    def __init__(self, tokens: dict[str, str], tally: Tally) -> None:
        self._callers = {f"Bearer {token}": name for token, name in tokens.items()}
        self._tally = tally
        self._draining = False

    def drain(self) -> None:
        """From now on refuse new calls; those in flight go on."""
        self._draining = True

    def unary(
        self, method: str, handler: Unary[Request, Response]
    ) -> Callable[[Request, Context], Awaitable[Response]]:
        """For methods that answer with one message, whether or not the request is a stream."""

        async def serve(request: Request, context: Context) -> Response:
            failed = True
            try:
                response = await handler(request, self._admit(context))
                failed = False
                return response
            except Exception as error:
                await _abort(context, method, error)
            finally:
                self._tally.count_call(method, failed=failed)

        return serve

    def streaming(
        self, method: str, handler: Streaming[Request, Response]
    ) -> Callable[[Request, Context], AsyncIterator[Response]]:
        """For methods that answer with a stream."""

        async def serve(request: Request, context: Context) -> AsyncIterator[Response]:
            failed = True
            try:
                async for response in handler(request, self._admit(context)):
                    yield response
                failed = False
            except Exception as error:
                await _abort(context, method, error)
            finally:
                self._tally.count_call(method, failed=failed)

        return serve

    def _admit(self, context: Context) -> Call:
        if self._draining:
            raise Draining("the server is stopping; try again when it is back")
        headers = context.invocation_metadata() or ()
        return Call(self._caller(headers), run_from(headers))

    def _caller(self, headers: Any) -> str:
        for name, value in headers:
            if name == "authorization":
                for accepted, caller in self._callers.items():
                    if hmac.compare_digest(accepted.encode(), str(value).encode()):
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
        await context.abort(_STATUS[error.code], str(error))
    if isinstance(error, (grpc.aio.AbortError, asyncio.CancelledError)):
        raise error
    reference = secrets.token_hex(4)
    _log.error("%s failed (%s)", method, reference, exc_info=error)
    await context.abort(
        grpc.StatusCode.INTERNAL,
        f"the server failed unexpectedly; its log says why under {reference}",
    )
    raise error
