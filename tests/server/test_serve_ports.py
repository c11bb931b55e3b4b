"""Finding a port while others look for one too."""

from __future__ import annotations

from pathlib import Path

import pytest

from reapi_local.compose import server as app
from reapi_local.compose.cannot_start import CannotStart
from rpc.helpers import TRANSPORTS, serving
from server.process import listener


@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_a_port_lost_at_the_last_moment_is_replaced(
    tmp_path: Path, transport: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with listener() as other:
        taken = other.getsockname()[1]
        monkeypatch.setattr(app, "free_port", lambda host, candidates: taken)
        async with serving(tmp_path, transport) as server:
            assert server.app.grpc_port not in (0, taken)
            assert await server.client.missing() == []


@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_a_port_that_was_asked_for_is_not_replaced(
    tmp_path: Path, transport: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with listener() as other:
        taken = other.getsockname()[1]
        monkeypatch.setattr(app, "free_port", lambda host, candidates: taken)
        with pytest.raises(CannotStart) as caught:
            async with serving(tmp_path, transport, port=taken):
                pass
    assert str(taken) in str(caught.value)


async def test_many_servers_that_start_together_all_find_a_port(tmp_path: Path) -> None:
    async with (
        serving(tmp_path / "a", "native") as a,
        serving(tmp_path / "b", "native") as b,
        serving(tmp_path / "c", "grpcio") as c,
    ):
        ports = {server.app.grpc_port for server in (a, b, c)}
        ports |= {server.app.admin_port for server in (a, b, c)}
        assert len(ports) == 6
