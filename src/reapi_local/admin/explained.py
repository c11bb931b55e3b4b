"""The route that says why the processes of a run were no hits."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from reapi_contract import admin_api
from reapi_contract.explanations import Explanation, explanation_json
from reapi_local.access.principal import Verb
from reapi_local.admin.route import AdminRoute, queried_instance


class Explains(Protocol):
    """Who can explain a run."""

    async def explain(self, run: str, instance: str | None, process: str) -> Explanation: ...


def routes(explains: Explains) -> Sequence[AdminRoute]:
    """The route, with what it needs."""

    async def explain(request: Request) -> Response:
        query = request.query_params
        found = await explains.explain(
            query.get("run", ""), query.get("instance"), query.get("process", "")
        )
        return JSONResponse(explanation_json(found))

    return (AdminRoute(admin_api.EXPLANATIONS, "GET", Verb.READ, queried_instance, explain),)
