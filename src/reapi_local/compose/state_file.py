"""Writes the state file, and reads what the last server left in it."""

from __future__ import annotations

import os
import secrets
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from reapi_contract.state import MIN_TOKEN_CHARACTERS, State, read_state, state_text


@dataclass(frozen=True)
class Remembered:
    """What a server takes over from the last one, because clients keep using it."""

    token: str
    grpc_port: int = 0
    admin_port: int = 0


def remembered(path: str) -> Remembered:
    """Read from the last server's state file; a new token if the file has none."""
    state = read_state(Path(path).parent)
    if state is None or len(state.token) < MIN_TOKEN_CHARACTERS:
        return Remembered(secrets.token_urlsafe(32))
    return Remembered(state.token, state.grpc_port, state.admin_port)


def write_state(path: str, state: State) -> None:
    """Replace the file atomically. Only its owner may read it, because it contains the token."""
    temporary = f"{path}.new"
    with suppress(FileNotFoundError):  # what a server that was killed meanwhile has left
        os.unlink(temporary)
    fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with open(fd, "w", encoding="utf-8") as file:
        file.write(state_text(state))
        file.flush()
        os.fsync(file.fileno())
    os.replace(temporary, path)
