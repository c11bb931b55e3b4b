"""How clients on this machine call the server."""

from __future__ import annotations

from collections.abc import Sequence

from reapi_local.config.loopback import is_loopback

_EVERYWHERE = {"0.0.0.0": "127.0.0.1", "::": "::1"}


def reachable(host: str) -> str:
    """The address to call if the server listens on all addresses."""
    return _EVERYWHERE.get(host, host)


def bracketed(host: str) -> str:
    """A host as it is written before a port."""
    return f"[{host}]" if ":" in host else host


def host_for_clients(host: str, names: Sequence[str]) -> str:
    """The host in the address that clients get.

    ``names``: whom the certificate is for, () = no TLS. A client refuses a certificate that isn't
    for the host that it calls, so this is one of the names, unless none of them may lead here.
    """
    own = reachable(host)
    if "localhost" in names and is_loopback(own):
        return "localhost"  # Pants 2.17 refuses certificates for addresses
    if not names or own in names:
        return own
    return next((name for name in names if "*" not in name and not is_loopback(name)), own)
