"""Runs the admin interface within the server's event loop."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Iterator

import uvicorn

from reapi_local.admin.http import Admin, make_app


class _Server(uvicorn.Server):
    """Signals are for the whole program, which handles them itself."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


class AdminListener:
    """HTTP on ``bound``, a socket it takes over."""

    def __init__(self, admin: Admin, bound: socket.socket, token: str) -> None:
        self.port: int = bound.getsockname()[1]
        self._bound = bound
        self._server = _Server(
            uvicorn.Config(
                make_app(admin, token),
                http="h11",
                ws="none",
                lifespan="off",
                access_log=False,
                log_config=None,
                timeout_graceful_shutdown=2,
            )
        )

    async def start(self) -> None:
        """Returns when requests are answered: the socket listens from here on."""
        self._bound.listen(128)
        self._task = asyncio.create_task(self._server.serve(sockets=[self._bound]))

    async def stop(self) -> None:
        self._server.should_exit = True
        await self._task
