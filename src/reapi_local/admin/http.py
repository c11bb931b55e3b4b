"""The routes of the admin interface. :mod:`reapi_contract.admin_api` says what they answer.

Every request carries ``Authorization: Bearer TOKEN``; the same access control as for gRPC decides
what its principal may do. Only a challenge has no token, because its answer tells whether the
client may send it.
"""

from __future__ import annotations

import json
from typing import Final, Protocol

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from reapi_contract import admin_api, challenge
from reapi_contract.admin_api import Health
from reapi_contract.json_records import to_json
from reapi_contract.proof import Proof, proofs_json
from reapi_contract.status import Status, status_json
from reapi_local.access.access_control import AccessControl
from reapi_local.access.principal import Verb
from reapi_local.admin import explained, inspection_routes, records
from reapi_local.admin.route import PRINCIPAL, AdminRoute, all_instances, body_of
from reapi_local.errors import Code, ReapiError, Unauthenticated
from reapi_local.inspect.inspector import Inspector
from reapi_local.protocol.instance import check_instance_name

_METRICS_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"
_MAX_BODY_BYTES: Final = 1024 * 1024
_HTTP_STATUS: Final = {
    Code.INVALID_ARGUMENT: 400,
    Code.UNAUTHENTICATED: 401,
    Code.PERMISSION_DENIED: 403,
    Code.NOT_FOUND: 404,
    Code.FAILED_PRECONDITION: 409,
    Code.UNAVAILABLE: 503,
}


class Admin(Protocol):
    """What the admin interface reads from the server, and asks of it."""

    def health(self) -> Health: ...

    def answer_challenge(self, nonce: str) -> challenge.Answer: ...

    async def status(self) -> Status: ...

    def metrics(self) -> bytes: ...

    @property
    def records(self) -> records.Records: ...

    @property
    def explanations(self) -> explained.Explains: ...

    async def check(self, instance: str) -> list[Proof]: ...

    def inspector(self) -> Inspector: ...

    def request_stop(self) -> None: ...

    def rotate_token(self) -> None: ...

    async def show(self, repository: str, tools: tuple[str, ...]) -> None: ...


def make_app(admin: Admin, access: AccessControl) -> ASGIApp:
    """The ASGI application: the routes, behind authentication."""
    handlers = _Handlers(admin)
    routes = (
        AdminRoute(admin_api.HEALTH, "GET", Verb.READ, all_instances, handlers.health),
        AdminRoute(admin_api.STATUS, "GET", Verb.READ, all_instances, handlers.status),
        AdminRoute(admin_api.METRICS, "GET", Verb.READ, all_instances, handlers.metrics),
        AdminRoute(admin_api.CHECK, "POST", Verb.WRITE, all_instances, handlers.check),
        AdminRoute(admin_api.PLACES, "POST", Verb.ADMIN, all_instances, handlers.show),
        AdminRoute(
            admin_api.ROTATE_TOKEN, "POST", Verb.ADMIN, all_instances, handlers.rotate_token
        ),
        AdminRoute(admin_api.STOP, "POST", Verb.ADMIN, all_instances, handlers.stop),
        *records.routes(admin.records),
        *inspection_routes.routes(admin.inspector()),
        *explained.routes(admin.explanations),
    )
    app = Starlette(
        routes=[
            Route(challenge.PATH, handlers.challenge, methods=["GET"]),
            *(route.authorized(access) for route in routes),
        ],
        exception_handlers={HTTPException: _http_error, ReapiError: _reapi_error},
    )
    return _Authentication(app, access)


class _Handlers:
    def __init__(self, admin: Admin) -> None:
        self._admin = admin

    async def health(self, request: Request) -> Response:
        return JSONResponse(to_json(self._admin.health()))

    async def challenge(self, request: Request) -> Response:
        nonce = request.query_params.get("nonce", "")
        if not challenge.is_nonce(nonce):
            raise HTTPException(400, "send a nonce of 32 hexadecimal digits")
        return JSONResponse(to_json(self._admin.answer_challenge(nonce)))

    async def status(self, request: Request) -> Response:
        return JSONResponse(status_json(await self._admin.status()))

    async def metrics(self, request: Request) -> Response:
        return Response(self._admin.metrics(), media_type=_METRICS_TYPE)

    async def check(self, request: Request) -> Response:
        # The server may not have this instance: then the calls of the check fail and say so.
        proofs = await self._admin.check(check_instance_name(await _instance_in(request)))
        return JSONResponse(proofs_json(proofs))

    async def stop(self, request: Request) -> Response:
        self._admin.request_stop()
        return JSONResponse(admin_api.stop_json(), status_code=202)

    async def show(self, request: Request) -> Response:
        body = await body_of(request, _MAX_BODY_BYTES)
        try:
            places = admin_api.places_in(json.loads(body))
        except (ValueError, RecursionError):
            places = None
        if places is None:
            raise HTTPException(400, 'send {"repository": PATH, "tools": [PATH, …]} as JSON')
        await self._admin.show(*places)
        return JSONResponse(admin_api.places_json())

    async def rotate_token(self, request: Request) -> Response:
        try:
            self._admin.rotate_token()
        except OSError as error:
            raise HTTPException(500, f"the state file can't be written: {error}") from error
        return JSONResponse(admin_api.rotated_json())


async def _instance_in(request: Request) -> str:
    body = await body_of(request, _MAX_BODY_BYTES)
    try:
        instance = admin_api.instance_to_check(json.loads(body))
    except (ValueError, RecursionError):
        instance = None
    if instance is None:
        raise HTTPException(400, 'send {"instance": NAME} as JSON')
    return instance


async def _http_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    return _error(error.status_code, str(error.detail))


async def _reapi_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, ReapiError)
    return _error(_HTTP_STATUS.get(error.code, 500), str(error))


def _error(status: int, message: str) -> Response:
    return JSONResponse(admin_api.error_json(status, message), status_code=status)


class _Authentication:
    """Refuses requests without a valid token; puts the principal of the others into the scope.

    A challenge passes without a token.
    """

    def __init__(self, app: ASGIApp, access: AccessControl) -> None:
        self._app, self._access = app, access

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope.get("path") == challenge.PATH:
            await self._app(scope, receive, send)
            return
        authorization = dict(scope.get("headers", ())).get(b"authorization")
        try:
            scope[PRINCIPAL] = self._access.authenticate(authorization)
        except Unauthenticated:
            await _error(401, "send Authorization: Bearer TOKEN")(scope, receive, send)
        else:
            await self._app(scope, receive, send)
