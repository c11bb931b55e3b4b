"""The state file: how a launcher finds a server, and what outlives a restart."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, fields
from pathlib import Path

from reapi_contract.data_dir import STATE_FILE

FORMAT = 1
MIN_TOKEN_CHARACTERS = 32


@dataclass(frozen=True)
class State:
    """One server's account of itself. Sizes in bytes, times in seconds since the epoch.

    `pid` is None once it has stopped in good order. `boot_id` tells one life of the server from the
    next even when a pid comes again.
    """

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
    format: int = FORMAT


def state_text(state: State) -> str:
    """The content of the state file."""
    return json.dumps(asdict(state), indent=2)


def read_state(data_dir: Path) -> State | None:
    """What the state file in a data directory says; None when there is none or it isn't one.

    Fields that are not known are ignored: a newer server may have written it.
    """
    try:
        raw = json.loads((data_dir / STATE_FILE).read_bytes())
        return State(
            pid=None if raw["pid"] is None else int(raw["pid"]),
            boot_id=str(raw["boot_id"]),
            started_at=float(raw["started_at"]),
            version=str(raw["version"]),
            host=str(raw["host"]),
            grpc_port=int(raw["grpc_port"]),
            admin_port=int(raw["admin_port"]),
            token=str(raw["token"]),
            data_dir=str(raw["data_dir"]),
            max_size_bytes=int(raw["max_size_bytes"]),
        )
    except (OSError, ValueError, KeyError, TypeError):
        return None


FIELDS = tuple(field.name for field in fields(State))
