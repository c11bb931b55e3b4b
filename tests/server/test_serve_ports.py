"""Finding a port while others look for one too."""

from __future__ import annotations

import socket
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from reapi_local.compose import held_ports
from reapi_local.compose.cannot_start import CannotStart
from reapi_local.compose.held_ports import HeldPorts
from reapi_local.compose.ports import PortTaken, listen
from reapi_local.compose.reservation import Reservation, reserve
from rpc.helpers import TRANSPORTS, serving
from server.process import listener, quiet_port

HOST = "127.0.0.1"


@contextmanager
def lost(monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    """A port that another program takes after it was found to be free."""
    port = quiet_port()
    others: list[socket.socket] = []

    def reserved(host: str, wanted: int, inherited: Iterable[socket.socket]) -> Reservation:
        found = reserve(host, wanted, inherited)
        if found.port == port:
            others.append(listener(port))
        return found

    monkeypatch.setattr(held_ports, "reserve", reserved)
    yield port
    assert others
    for other in others:
        other.close()


@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_a_port_lost_at_the_last_moment_is_replaced(
    tmp_path: Path, transport: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with lost(monkeypatch) as port:
        monkeypatch.setattr("reapi_local.compose.server.DEFAULT_PORT", port)
        async with serving(tmp_path, transport) as server:
            assert server.app.grpc_port not in (0, port)
            assert await server.client.missing() == []


@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_a_port_that_was_asked_for_is_not_replaced(
    tmp_path: Path, transport: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with lost(monkeypatch) as port, pytest.raises(CannotStart) as caught:
        async with serving(tmp_path, transport, port=port):
            pass
    assert str(port) in str(caught.value)


async def test_many_servers_that_start_together_all_find_a_port(tmp_path: Path) -> None:
    async with (
        serving(tmp_path / "a", "native") as a,
        serving(tmp_path / "b", "native") as b,
        serving(tmp_path / "c", "grpcio") as c,
    ):
        ports = {server.app.grpc_port for server in (a, b, c)}
        ports |= {server.app.admin_port for server in (a, b, c)}
        assert len(ports) == 6


def test_two_servers_that_find_one_port_at_the_same_moment_do_not_share_it(tmp_path: Path) -> None:
    for name in "ab":
        (tmp_path / name).mkdir()
    first, second = HeldPorts(str(tmp_path / "a")), HeldPorts(str(tmp_path / "b"))
    wanted = quiet_port()
    found: list[socket.socket] = []

    def listen_later(port: int, reuse_port: bool) -> socket.socket:
        """The second server has come as far as the first."""
        if port == wanted and not found:

            def listen_at_once(port: int, second_reuses: bool) -> socket.socket:
                found.append(listen(HOST, port, second_reuses))
                with pytest.raises(PortTaken):
                    listen(HOST, port, reuse_port)
                return found[0]

            second.listen(HOST, (wanted, 0), listen_at_once)
        return listen(HOST, port, reuse_port)

    found.append(first.listen(HOST, (wanted, 0), listen_later))
    assert [one.getsockname()[1] == wanted for one in found] == [True, False]
    for one in found:
        one.close()
    first.release()
    second.release()
