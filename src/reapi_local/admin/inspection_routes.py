"""The routes that tell about objects of the store; :mod:`reapi_contract.inspection` says how."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from reapi_contract import inspection
from reapi_contract.inspection import MAX_ENTRIES, MAX_PIECE_BYTES
from reapi_contract.json_records import to_json
from reapi_local.access.principal import Verb
from reapi_local.admin.route import AdminRoute, queried_instance
from reapi_local.inspect.inspector import Asked, Inspector

_MAX_DEPTH: Final = 100_000
_MAX_OFFSET: Final = 1 << 62


def routes(inspector: Inspector) -> Sequence[AdminRoute]:
    """The routes, each with what it needs."""
    look = _Handlers(inspector)
    return (
        AdminRoute(inspection.OBJECT, "GET", Verb.READ, queried_instance, look.object),
        AdminRoute(inspection.TREE, "GET", Verb.READ, queried_instance, look.tree),
        AdminRoute(inspection.BLOB, "GET", Verb.READ, queried_instance, look.blob),
        AdminRoute(inspection.DIFFERENCES, "GET", Verb.READ, queried_instance, look.differences),
    )


class _Handlers:
    """``instance`` is a query that each of the requests may have."""

    def __init__(self, inspector: Inspector) -> None:
        self._inspector = inspector

    async def object(self, request: Request) -> Response:
        described = await self._inspector.describe(request.path_params["digest"], _asked(request))
        return JSONResponse(to_json(described))

    async def tree(self, request: Request) -> Response:
        listing = await self._inspector.tree(
            request.path_params["digest"],
            _asked(request),
            request.query_params.get("path", ""),
            _number(request, "depth", 0, _MAX_DEPTH, least=0),
            _number(request, "limit", 1000, MAX_ENTRIES),
        )
        return JSONResponse(to_json(listing))

    async def blob(self, request: Request) -> Response:
        data = await self._inspector.piece(
            request.path_params["digest"],
            _asked(request),
            _number(request, "offset", 0, _MAX_OFFSET, least=0),
            _number(request, "limit", MAX_PIECE_BYTES, MAX_PIECE_BYTES),
        )
        return JSONResponse({"data": data})

    async def differences(self, request: Request) -> Response:
        query = request.query_params
        if "a" not in query or "b" not in query:
            raise HTTPException(400, "send two digests, as the queries a and b")
        found = await self._inspector.compare(
            (query["a"], query["b"]), _asked(request), query.get("path", "")
        )
        return JSONResponse(to_json(found))


def _asked(request: Request) -> Asked:
    query = request.query_params
    return Asked(query.get("instance"), query.get("as", ""), query.get("secrets") == "1")


def _number(request: Request, name: str, default: int, most: int, least: int = 1) -> int:
    text = request.query_params.get(name, str(default))
    number = int(text) if text.isascii() and text.isdigit() and len(text) < 20 else -1
    if not least <= number <= most:
        raise HTTPException(400, f"{name} {text[:50]!r} isn't a number from {least} to {most}")
    return number
