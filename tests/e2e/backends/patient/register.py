"""A backend of Pants: its builds wait for a server as long as a slow machine needs to start it."""

from __future__ import annotations

from reapi_local_launcher.server.timeouts import Timeouts
from reapi_local_plugin import build_server

build_server.TIMEOUTS = Timeouts(start_s=900.0, other_s=900.0, total_s=900.0)


def rules() -> tuple[()]:
    return ()
