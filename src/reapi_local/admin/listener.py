"""Runs the admin interface within the server's event loop."""

from __future__ import annotations

import socket

import uvicorn

from reapi_local.access.access_control import AccessControl
from reapi_local.admin.http import Admin, make_app
from reapi_local.admin.patient_http import PatientHttp


class AdminListener:
    """HTTP on the socket ``listening``, which it closes at the end.

    uvicorn's own ``serve`` would take over the program's signals and wake it ten times a second, so
    only its ``startup`` and ``shutdown`` are used.
    """

    def __init__(self, admin: Admin, listening: socket.socket, access: AccessControl) -> None:
        self.port: int = listening.getsockname()[1]
        self._listening = listening
        self._server = uvicorn.Server(
            uvicorn.Config(
                make_app(admin, access),
                http=PatientHttp,
                ws="none",
                lifespan="off",
                access_log=False,
                log_config=None,
                timeout_graceful_shutdown=2,
            )
        )

    async def start(self) -> None:
        """Start to answer requests."""
        config = self._server.config
        config.load()
        self._server.lifespan = config.lifespan_class(config)
        await self._server.startup(sockets=[self._listening])

    async def stop(self) -> None:
        """Refuse new requests, and wait shortly for requests in progress."""
        await self._server.shutdown(sockets=[self._listening])
