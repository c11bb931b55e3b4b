"""Asking a running server why the processes of a run were no hits."""

from __future__ import annotations

from urllib.parse import urlencode

from reapi_contract import admin_api
from reapi_local_launcher.labels import Labels
from reapi_local_launcher.launcher_error import LauncherError
from reapi_local_launcher.server import admin_client as admin
from reapi_local_launcher.server.running import Running

_MAX_S = 60.0
NEWEST = ""


def fetch_explanation(
    running: Running,
    labels: Labels,
    *,
    run: str = NEWEST,
    instance: str | None = None,
    process: str = "",
) -> admin.Json:
    """The JSON of an explanation; `explanation_from` reads it.

    `instance`: None for any. `process`: only processes whose description, target or action has it.
    Raises LauncherError.
    """
    query = {"run": run, "process": process}
    if instance is not None:
        query["instance"] = instance
    try:
        return running.call("GET", f"{admin_api.EXPLANATIONS}?{urlencode(query)}", timeout_s=_MAX_S)
    except admin.AdminRefusedError as error:
        if error.status != 404:
            raise _no_answer(error, labels) from error
        raise LauncherError(
            "There is no run to explain.",
            f"{error}.",
            "Build something that asks the cache, such as `pants test ::`, and try again.",
        ) from error
    except admin.AdminError as error:
        raise _no_answer(error, labels) from error


def _no_answer(error: admin.AdminError, labels: Labels) -> LauncherError:
    return LauncherError(
        "The server explained nothing.",
        f"{error}.",
        f"Prove that it works with `{labels.check}`.",
    )
