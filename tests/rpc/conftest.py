from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from rpc.helpers import TRANSPORTS, Client, Server, serving


@pytest.fixture(scope="module", params=TRANSPORTS)
def transport(request: pytest.FixtureRequest) -> str:
    """Every test that asks for it, or for a server, runs on both."""
    return str(request.param)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def shared_server(
    tmp_path_factory: pytest.TempPathFactory, transport: str
) -> AsyncIterator[Server]:
    """One for all tests of a module, which then share its event loop and use blobs of their own."""
    async with serving(tmp_path_factory.mktemp("data"), transport) as running:
        yield running


@pytest.fixture
def client(shared_server: Server) -> Client:
    return shared_server.client


@pytest_asyncio.fixture
async def server(tmp_path: Path, transport: str) -> AsyncIterator[Server]:
    """One for one test."""
    async with serving(tmp_path / "data", transport) as running:
        yield running
