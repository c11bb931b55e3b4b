"""The routes about what the server remembers: runs, reports and savings."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Sequence
from typing import Protocol, TypeVar

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from reapi_contract import admin_api, input_trees, run_reports, savings
from reapi_contract.action_history import ActionHistory, history_json
from reapi_contract.admin_api import RunSummary
from reapi_contract.input_trees import InputTree
from reapi_contract.json_records import to_json
from reapi_contract.run_details import RunDetails, details_json
from reapi_contract.run_reports import Kept, ProcessReport, Reporting, RunReport
from reapi_contract.savings import Savings
from reapi_local.access.principal import Verb
from reapi_local.admin.route import AdminRoute, all_instances, body_of, number_in, queried_instance
from reapi_local.protocol.digest import Digest, function_for, parse_digest_text

_T = TypeVar("_T")
_Report = tuple[RunReport, Sequence[ProcessReport], int]
"""The last is the size of the request in bytes."""


class Records(Protocol):
    """What the server remembers about runs."""

    def reporting(self) -> Reporting: ...

    async def report(
        self, run: RunReport, processes: Sequence[ProcessReport], size_bytes: int
    ) -> Kept: ...

    async def missing_trees(self, roots: Sequence[str]) -> list[str]: ...

    async def keep_tree(self, tree: InputTree) -> None: ...

    async def runs(self, instance: str | None, limit: int) -> list[RunSummary]: ...

    async def run(self, run: str, instance: str | None) -> RunDetails: ...

    async def action(self, action: Digest) -> ActionHistory: ...

    async def savings(self, by: str, days: int, instance: str | None, limit: int) -> Savings: ...


def routes(records: Records) -> Sequence[AdminRoute]:
    """The routes, each with what it needs."""
    handlers = _Handlers(records)
    of_reports = admin_api.REPORTS
    return (
        AdminRoute(admin_api.RUNS, "GET", Verb.READ, queried_instance, handlers.runs),
        AdminRoute(f"{admin_api.RUNS}/{{run}}", "GET", Verb.READ, queried_instance, handlers.run),
        AdminRoute(
            f"{admin_api.ACTIONS}/{{hash}}/{{size:int}}",
            "GET",
            Verb.READ,
            all_instances,
            handlers.action,
        ),
        AdminRoute(admin_api.SAVINGS, "GET", Verb.READ, queried_instance, handlers.savings),
        AdminRoute(of_reports, "GET", Verb.WRITE, all_instances, handlers.reporting),
        AdminRoute(of_reports, "POST", Verb.WRITE, _reported_instance, handlers.report),
        AdminRoute(
            admin_api.MISSING_TREES, "POST", Verb.WRITE, all_instances, handlers.missing_trees
        ),
        AdminRoute(admin_api.INPUT_TREES, "POST", Verb.WRITE, all_instances, handlers.input_tree),
    )


class _Handlers:
    def __init__(self, records: Records) -> None:
        self._records = records

    async def runs(self, request: Request) -> Response:
        limit = number_in(request, "limit", 20, "runs")
        runs = await self._records.runs(request.query_params.get("instance"), limit)
        return JSONResponse(admin_api.runs_json(runs))

    async def run(self, request: Request) -> Response:
        instance = request.query_params.get("instance")
        details = await self._records.run(request.path_params["run"], instance)
        return JSONResponse(details_json(details))

    async def action(self, request: Request) -> Response:
        hash_hex, size = request.path_params["hash"], request.path_params["size"]
        action = parse_digest_text(function_for(0, hash_hex), hash_hex, size)
        return JSONResponse(history_json(await self._records.action(action)))

    async def savings(self, request: Request) -> Response:
        by = request.query_params.get("by", savings.DAY)
        if by not in savings.GROUPS:
            raise HTTPException(400, f"by {by[:50]!r} isn't one of {', '.join(savings.GROUPS)}")
        days = number_in(request, "days", 0, "days")
        found = await self._records.savings(
            by, days, request.query_params.get("instance"), number_in(request, "limit", 30, "rows")
        )
        return JSONResponse(savings.savings_json(found))

    async def reporting(self, request: Request) -> Response:
        return JSONResponse(to_json(self._records.reporting()))

    async def report(self, request: Request) -> Response:
        return JSONResponse(to_json(await self._records.report(*await _report_in(request))))

    async def missing_trees(self, request: Request) -> Response:
        roots = await _in_body(request, input_trees.roots_from)
        missing = await self._records.missing_trees(roots)
        return JSONResponse(input_trees.roots_json(missing))

    async def input_tree(self, request: Request) -> Response:
        await self._records.keep_tree(await _in_body(request, input_trees.tree_from))
        return JSONResponse({"status": "kept"})


async def _in_body(request: Request, parse: Callable[[object], _T]) -> _T:
    """What the JSON of the body is, parsed in a thread. Raises HTTPException."""
    body = await body_of(request, input_trees.MAX_TREE_BYTES)
    try:
        return await asyncio.to_thread(lambda: parse(json.loads(body)))
    except (ValueError, RecursionError) as error:
        raise HTTPException(400, str(error)[:500]) from error


async def _reported_instance(request: Request) -> str:
    run, *_ = await _report_in(request)
    return run.instance


async def _report_in(request: Request) -> _Report:
    """The report in the body, which is read once. Raises HTTPException."""
    if not hasattr(request.state, "report"):
        body = await body_of(request, run_reports.MAX_BATCH_BYTES)
        try:
            request.state.report = await asyncio.to_thread(_parsed, body)
        except (ValueError, RecursionError) as error:
            raise HTTPException(400, str(error)[:500]) from error
    report: _Report = request.state.report
    return report


def _parsed(body: bytes) -> _Report:
    try:
        raw = json.loads(body)
    except ValueError as error:
        raise ValueError(f"the report isn't JSON: {error}") from error
    return (*run_reports.report_from(raw), len(body))
