"""Chooses ports: the configured port, or the first free one."""

from __future__ import annotations

import socket
from collections.abc import Iterable


class PortTaken(Exception):
    """The port can't be bound, mostly because another program listens on it."""


def bind(host: str, port: int) -> socket.socket:
    """A socket bound to the port (0 = any), not listening yet.

    Raises:
        PortTaken: it can't be bound.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    bound = socket.socket(family, socket.SOCK_STREAM)
    try:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind((host, port))
    except (OSError, OverflowError) as error:
        bound.close()
        what = f"port {port} on {host}" if port else f"the address {host}"
        raise PortTaken(f"{what} can't be bound: {error}") from error
    return bound


def bind_first(host: str, candidates: Iterable[int]) -> socket.socket:
    """A socket bound to the first free port of ``candidates``, else to any free port."""
    for port in candidates:
        if port:
            try:
                return bind(host, port)
            except PortTaken:
                continue
    return bind(host, 0)


def free_port(host: str, candidates: Iterable[int]) -> int:
    """The first free port of ``candidates``, else any. Another program may take it at any time."""
    with bind_first(host, candidates) as bound:
        port: int = bound.getsockname()[1]
        return port
