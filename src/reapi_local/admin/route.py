"""A route of the admin interface, and how requests are read."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final

from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route

from reapi_local.access.access_control import AccessControl
from reapi_local.access.principal import Verb

PRINCIPAL: Final = "reapi_local.principal"
"""Where the scope of a request has the principal who makes it."""


@dataclass(frozen=True)
class AdminRoute:
    """A path with its method and handler, and the permission that a request needs.

    ``instance_of`` finds the instance that a request is about; None for all instances.
    """

    path: str
    method: str
    verb: Verb
    instance_of: Callable[[Request], Awaitable[str | None]]
    handler: Callable[[Request], Awaitable[Response]]

    def authorized(self, access: AccessControl) -> Route:
        """The route behind its check."""

        async def serve(request: Request) -> Response:
            instance = await self.instance_of(request)
            access.authorize(request.scope[PRINCIPAL], self.verb, instance)
            return await self.handler(request)

        return Route(self.path, serve, methods=[self.method])


async def all_instances(request: Request) -> None:
    """For requests about no instance of its own."""
    return


async def queried_instance(request: Request) -> str | None:
    """The instance in the query; None for all instances."""
    return request.query_params.get("instance")


def number_in(request: Request, name: str, default: int, what: str) -> int:
    """A whole number of the query. Raises HTTPException."""
    text = request.query_params.get(name, str(default))
    if not re.fullmatch("[0-9]{1,9}", text):
        raise HTTPException(400, f"{name} {text[:50]!r} isn't a number of {what}")
    return int(text)


async def body_of(request: Request, max_bytes: int) -> bytes:
    """The body. Of one that is too long no more is kept, but it is read: the client sends it.

    Raises HTTPException.
    """
    body, length = bytearray(), 0
    try:
        async for part in request.stream():
            length += len(part)
            if length <= max_bytes:
                body += part
    except ClientDisconnect as error:
        raise HTTPException(400, "the connection ended within the body") from error
    if length > max_bytes:
        raise HTTPException(400, f"send a body of at most {max_bytes} bytes")
    return bytes(body)
