"""Asking a running server for its status."""

from __future__ import annotations

from reapi_contract import admin_api
from reapi_contract.admin_api import ExecutionStatus
from reapi_contract.status import Status, status_from
from reapi_local_launcher.labels import Labels
from reapi_local_launcher.launcher_error import LauncherError
from reapi_local_launcher.server import admin_client as admin
from reapi_local_launcher.server.running import Running

_MAX_S = 60.0
"""A server that has just started answers when it has tried its sandboxes."""

_TOO_OLD = "The running server is of a release that only keeps results."


def fetch_status(running: Running, labels: Labels) -> admin.Json:
    """The JSON of the server's status; `status_from` reads it. Raises LauncherError."""
    try:
        return running.call("GET", admin_api.STATUS, timeout_s=_MAX_S)
    except admin.AdminError as error:
        raise LauncherError(
            "The server did not tell its status.",
            f"{error}.",
            f"Prove that it works with `{labels.check}`.",
        ) from error


def execution_of(running: Running, labels: Labels) -> ExecutionStatus:
    """Whether and how a running server runs processes. Raises LauncherError."""
    return execution_in(status_from(fetch_status(running, labels)))


def execution_in(status: Status) -> ExecutionStatus:
    """The part of a status about processes, also for a server that runs none."""
    return status.execution or ExecutionStatus(reasons=(_TOO_OLD,))
