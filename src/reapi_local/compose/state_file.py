"""What a server takes over from the state file that the last server left."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from reapi_contract.state import new_token, read_state, token_to_keep


@dataclass(frozen=True)
class Remembered:
    """What a server takes over from the last one, because clients keep using it."""

    token: str
    grpc_port: int = 0
    admin_port: int = 0


def remembered(path: str) -> Remembered:
    """Read from the last server's state file; a new token if it has none that may be kept."""
    state = read_state(Path(path).parent)
    token = token_to_keep(state) or new_token()
    return Remembered(token, state.grpc_port, state.admin_port) if state else Remembered(token)
