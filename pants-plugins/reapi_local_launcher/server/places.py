"""Telling the server what its actions need to see: the repository, and the client's programs."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from reapi_contract import admin_api
from reapi_local_launcher.server import admin_client as admin
from reapi_local_launcher.server.running import Running


def show_places(running: Running, repository: Path, tools: Iterable[str]) -> str:
    """Tell it; "" if it was told, else why actions don't see the repository.

    A server of an older release shows every repository, without being told.
    """
    named = [os.path.normpath(tool) for tool in tools if os.path.isabs(tool)]
    request = admin_api.places_request(os.path.normpath(repository), dict.fromkeys(named))
    try:
        running.call("POST", admin_api.PLACES, request)
    except admin.AdminRefusedError as error:
        return "" if error.status == 404 else str(error)
    except admin.AdminError as error:
        return str(error)
    return ""
