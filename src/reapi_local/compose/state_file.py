"""The state file: how a launcher finds this server, and what outlives a restart."""

from __future__ import annotations

import json
import os
import secrets
from dataclasses import asdict, dataclass
from typing import Any, Final

FORMAT: Final = 1


@dataclass(frozen=True)
class State:
    """What ``server.json`` says. ``pid`` is None while no server runs.

    ``boot_id`` tells one life of the server from the next even when a pid comes again.
    """

    format: int
    pid: int | None
    boot_id: str
    started_at: float
    version: str
    host: str
    grpc_port: int
    admin_port: int
    token: str
    data_dir: str
    max_size_bytes: int


@dataclass(frozen=True)
class Remembered:
    """What the next server takes over from the last: clients hold on to these."""

    token: str
    grpc_port: int = 0
    admin_port: int = 0


def remembered(path: str) -> Remembered:
    """From the last server's state file; a new token where there is none to be read."""
    try:
        with open(path, encoding="utf-8") as file:
            data: Any = json.load(file)
        token, ports = data["token"], (int(data["grpc_port"]), int(data["admin_port"]))
        if isinstance(token, str) and len(token) >= 32:
            return Remembered(token, *ports)
    except (OSError, ValueError, KeyError, TypeError):
        pass
    return Remembered(secrets.token_urlsafe(32))


def write_state(path: str, state: State) -> None:
    """Replace the file in one step; only its owner may read it, for it holds the token."""
    temporary = f"{path}.new"
    fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with open(fd, "w", encoding="utf-8") as file:
        json.dump(asdict(state), file, indent=2)
        file.flush()
        os.fsync(file.fileno())
    os.replace(temporary, path)
