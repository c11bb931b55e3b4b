"""Binds sockets to ports."""

from __future__ import annotations

import socket
from typing import Any


class PortTaken(RuntimeError):
    """The port can't be bound, mostly because another program listens on it."""

    def __init__(self, host: str, port: int, error: Exception) -> None:
        what = f"port {port} on {host}" if port else f"the address {host}"
        super().__init__(f"{what} can't be bound: {error}")


def listen(host: str, port: int, reuse_port: bool) -> socket.socket:
    """A socket that listens on the port (0 = any) of an IP address.

    Raises:
        PortTaken: the port can't be used.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        bound = bind_address(family, (host, port), reuse_port=reuse_port)
    except OSError as error:
        raise PortTaken(host, port, error) from error
    try:
        bound.listen()
    except OSError as error:
        bound.close()
        raise PortTaken(host, port, error) from error
    return bound


def bind_address(
    family: socket.AddressFamily, address: tuple[Any, ...], *, reuse_port: bool = False
) -> socket.socket:
    """A socket bound to an address with its port. Raises OSError."""
    bound = socket.socket(family, socket.SOCK_STREAM)
    try:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if reuse_port:
            bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        bound.bind(address)
    except BaseException:
        bound.close()
        raise
    return bound
