"""Writes the state file, and reads what the last server left in it."""

from __future__ import annotations

import os
import secrets
from dataclasses import dataclass
from pathlib import Path

from reapi_contract.state import State, read_state, state_text, token_to_keep


@dataclass(frozen=True)
class Remembered:
    """What a server takes over from the last one, because clients keep using it."""

    token: str
    grpc_port: int = 0
    admin_port: int = 0


def remembered(path: str) -> Remembered:
    """Read from the last server's state file; a new token if it has none that may be kept."""
    state = read_state(Path(path).parent)
    token = token_to_keep(state) or secrets.token_urlsafe(32)
    return Remembered(token, state.grpc_port, state.admin_port) if state else Remembered(token)


def write_state(path: str, state: State) -> None:
    """Replace the file atomically. Only its owner may read it, because it contains the token."""
    temporary = f"{path}.new"
    fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with open(fd, "w", encoding="utf-8") as file:
        file.write(state_text(state))
        file.flush()
        os.fsync(file.fileno())
    os.replace(temporary, path)
