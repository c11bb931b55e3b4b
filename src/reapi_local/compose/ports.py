"""Choosing ports: the one asked for, or the first that is free."""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Iterable


class PortTaken(Exception):
    """Something else listens on the port that was asked for."""


def bind(host: str, port: int) -> socket.socket:
    """A socket bound to the port (0 = any), not listening yet.

    Raises:
        PortTaken: it can't be had.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    bound = socket.socket(family, socket.SOCK_STREAM)
    try:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind((host, port))
    except (OSError, OverflowError) as error:
        bound.close()
        raise PortTaken(f"port {port} on {host} can't be had: {error}") from error
    return bound


def bind_first(host: str, candidates: Iterable[int]) -> socket.socket:
    """A socket bound to the first port of ``candidates`` that is free, else to any."""
    for port in candidates:
        if port:
            try:
                return bind(host, port)
            except PortTaken:
                continue
    return bind(host, 0)


def free_port(host: str, candidates: Iterable[int]) -> int:
    """The first free port of ``candidates``, else any; it is free when this returns."""
    with bind_first(host, candidates) as bound:
        port: int = bound.getsockname()[1]
        return port


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach an address; a name counts as reachable."""
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
