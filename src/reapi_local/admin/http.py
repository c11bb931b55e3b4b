"""The admin interface's routes. Versioned by their path; answers only grow.

Every request carries ``Authorization: Bearer TOKEN``. Errors are ``{"error", "message"}``.
"""

from __future__ import annotations

import hmac
import re
from collections.abc import Mapping
from typing import Any, Protocol

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from reapi_local.errors import InvalidRequest
from reapi_local.protocol.instance import check_instance_name


class Admin(Protocol):
    """What the interface shows and does."""

    def health(self) -> Mapping[str, Any]: ...

    async def status(self) -> Mapping[str, Any]: ...

    def runs(self, instance: str | None, limit: int) -> list[dict[str, Any]]: ...

    async def check(self, instance: str) -> list[dict[str, Any]]: ...

    def request_stop(self) -> None: ...


def make_app(admin: Admin, token: str) -> ASGIApp:
    """The ASGI application."""

    async def health(request: Request) -> Response:
        return JSONResponse(admin.health())

    async def status(request: Request) -> Response:
        return JSONResponse(await admin.status())

    async def runs(request: Request) -> Response:
        limit = request.query_params.get("limit", "20")
        if not re.fullmatch("[0-9]{1,9}", limit):
            raise HTTPException(400, f"limit {limit[:50]!r} isn't a number of runs")
        return JSONResponse({"runs": admin.runs(request.query_params.get("instance"), int(limit))})

    async def check(request: Request) -> Response:
        try:
            instance = (await request.json())["instance"]
        except (ValueError, KeyError, TypeError, RecursionError):
            instance = None
        if not isinstance(instance, str):
            raise HTTPException(400, 'send {"instance": NAME} as JSON')
        try:
            check_instance_name(instance)
        except InvalidRequest as error:
            raise HTTPException(400, str(error)) from error
        return JSONResponse({"proofs": await admin.check(instance)})

    async def stop(request: Request) -> Response:
        admin.request_stop()
        return JSONResponse({"status": "stopping"}, status_code=202)

    routes = [
        Route("/v1/health", health),
        Route("/v1/status", status),
        Route("/v1/runs", runs),
        Route("/v1/check", check, methods=["POST"]),
        Route("/v1/stop", stop, methods=["POST"]),
    ]
    app = Starlette(routes=routes, exception_handlers={HTTPException: _error})
    return _TokenGate(app, token)


async def _error(request: Request, error: Exception) -> Response:
    if not isinstance(error, HTTPException):
        raise error
    code = {400: "bad-request", 404: "not-found", 405: "method-not-allowed"}
    body = {"error": code.get(error.status_code, "failed"), "message": error.detail}
    return JSONResponse(body, status_code=error.status_code)


class _TokenGate:
    """Lets through only requests with the token."""

    def __init__(self, app: ASGIApp, token: str) -> None:
        self._app = app
        self._expected = f"Bearer {token}".encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        given = dict(scope.get("headers", ())).get(b"authorization", b"")
        if hmac.compare_digest(given, self._expected):
            await self._app(scope, receive, send)
            return
        body = {"error": "unauthenticated", "message": "send Authorization: Bearer TOKEN"}
        await JSONResponse(body, status_code=401)(scope, receive, send)
