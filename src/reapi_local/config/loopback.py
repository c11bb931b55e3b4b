"""Whether an address is one of this machine only."""

from __future__ import annotations


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach an address. The only name that counts is localhost."""
    if host == "localhost":
        return True
    import ipaddress  # imported late: only servers that listen elsewhere, or say how, need it

    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
