from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from fuzz.scenarios import STORED, batch
from fuzz.verdict import Peer
from rpc.helpers import TRANSPORTS, Server, serving


@dataclass(frozen=True)
class Target:
    """A server that runs whenever ``runner`` runs something, and a client of it."""

    runner: asyncio.Runner
    server: Server
    peer: Peer


@pytest.fixture(scope="module", params=TRANSPORTS)
def target(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Target]:
    """One for all examples of a module."""
    with asyncio.Runner() as runner:
        data_dir = tmp_path_factory.mktemp("data")
        block = serving(data_dir, request.param, execution="auto", slots=1, max_size=2**29)
        server = runner.run(block.__aenter__())
        peer = Peer(server.client.channel, server.token)
        assert runner.run(peer.faults(batch(STORED))) == []
        yield Target(runner, server, peer)
        runner.run(block.__aexit__(None, None, None))
