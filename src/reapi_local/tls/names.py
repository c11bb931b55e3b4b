"""What is known of TLS without its library: how the files are named that ``tls init`` makes."""

from __future__ import annotations

from typing import Final

AUTHORITY: Final = "ca"
SERVER: Final = "server"

NO_LIBRARY: Final = "TLS needs the package cryptography, which this Python doesn't have"
INSTALL_IT: Final = "install `reapi-local[server]` into it again"


def client(name: str) -> str:
    """The name of a client's pair."""
    return f"client-{name}"


def certificate_file(pair: str) -> str:
    return f"{pair}.pem"


def key_file(pair: str) -> str:
    return f"{pair}-key.pem"


AUTHORITY_KEY: Final = key_file(AUTHORITY)
