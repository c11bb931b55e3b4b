"""Asking a running server for what it remembers."""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import urlencode

from reapi_local_launcher.labels import Labels
from reapi_local_launcher.launcher_error import LauncherError
from reapi_local_launcher.server import admin_client as admin
from reapi_local_launcher.server.running import Running

_MAX_S = 30.0


def fetch(running: Running, path: str, query: Mapping[str, object], labels: Labels) -> admin.Json:
    """The JSON answer to a GET; members of the query that are None are left out.

    Raises LauncherError.
    """
    given = {name: value for name, value in query.items() if value is not None}
    try:
        return running.call("GET", f"{path}?{urlencode(given)}", timeout_s=_MAX_S)
    except admin.AdminRefusedError as error:
        if error.status == 404 and "Not Found" in str(error):
            raise _too_old(running, labels) from error
        raise LauncherError(
            "The server does not tell it.",
            f"{str(error).rstrip('.')}.",
            "`reapi-local logs` shows the log of the server.",
        ) from error
    except admin.AdminError as error:
        raise LauncherError(
            "The server did not answer.",
            f"{error}.",
            f"Prove that it works with `{labels.check}`.",
        ) from error


def _too_old(running: Running, labels: Labels) -> LauncherError:
    return LauncherError(
        "The running server keeps no journal.",
        f"It is of the older release {running.version}.",
        f"Stop it with `{labels.down}`, and start this release with `{labels.up}`.",
    )
