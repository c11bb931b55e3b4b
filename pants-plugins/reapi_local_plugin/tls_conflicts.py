"""Options of Pants that a server with TLS needs, and that no plugin can set.

Imports nothing of Pants.
"""

from __future__ import annotations

from typing import Any

from reapi_contract.state import State

_AUTHORITIES = "remote_ca_certs_path"
_CLIENT = ("remote_client_certs_path", "remote_client_key_path")


def tls_conflicts(pants: Any, state: State) -> list[str]:
    """Why Pants can't speak to the user's own server, each with what to write; empty if it can.

    `pants` holds the values of `[GLOBAL]`.
    """
    if not state.ca_certs_path:
        return []
    found = []
    if getattr(pants, _AUTHORITIES, None) is None:
        found.append(
            "The server uses TLS, and a plugin can't tell Pants whom to trust. Put this into "
            f'[GLOBAL]: {_AUTHORITIES} = "{state.ca_certs_path}"'
        )
    if state.needs_client_certificate and getattr(pants, _CLIENT[0], None) is None:
        found.append(
            "The server accepts only clients with a certificate. Set "
            f"{' and '.join(_CLIENT)} in [GLOBAL], which Pants has since 2.18; `reapi-local tls "
            "init --client NAME` makes the files."
        )
    return found
