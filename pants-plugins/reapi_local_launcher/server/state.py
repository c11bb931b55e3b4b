"""The state file that a server leaves in its data directory. The launcher only reads it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class State:
    """One server's own account of itself; `pid` is None once it has stopped in good order."""

    pid: int | None
    boot_id: str
    version: str
    started_at: float
    host: str
    grpc_port: int
    admin_port: int
    token: str
    data_dir: str
    max_size_bytes: int


def read_state(data_dir: Path) -> State | None:
    """What server.json says; None when there is none or it is not a state file.

    Fields that are not known are ignored: a newer server may have written it.
    """
    try:
        raw = json.loads((data_dir / "server.json").read_bytes())
        pid = raw["pid"]
        return State(
            pid=None if pid is None else int(pid),
            boot_id=str(raw["boot_id"]),
            version=str(raw["version"]),
            started_at=float(raw["started_at"]),
            host=str(raw["host"]),
            grpc_port=int(raw["grpc_port"]),
            admin_port=int(raw["admin_port"]),
            token=str(raw["token"]),
            data_dir=str(raw["data_dir"]),
            max_size_bytes=int(raw["max_size_bytes"]),
        )
    except (OSError, ValueError, KeyError, TypeError):
        return None
