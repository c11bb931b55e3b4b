"""What a server says of its start, once, as one line of JSON to the descriptor it was given."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import Union

FLAG = "--ready-fd"
VERSION_FLAG = "--version-label"

# Why a server could not start: codes for programs.
SETTINGS = "settings"
PORT_IN_USE = "port-in-use"
DATA_DIR_IN_USE = "data-dir-in-use"
DATA_DIR_UNUSABLE = "data-dir-unusable"
NO_SANDBOX = "no-sandbox"
FAILED = "failed"


@dataclass(frozen=True)
class Ready:
    """It serves."""

    pid: int
    grpc_port: int
    admin_port: int


@dataclass(frozen=True)
class NotStarted:
    """It ended before that: `error` is one of the codes above, `message` is for people."""

    error: str
    message: str


ReadyLine = Union[Ready, NotStarted]


def encode(line: ReadyLine) -> str:
    """The line, with its line break."""
    return json.dumps({"ready": isinstance(line, Ready), **asdict(line)}) + "\n"


def decode(data: bytes) -> ReadyLine | None:
    """What a server said; None for nothing, or for anything else than such a line."""
    try:
        raw = json.loads(data)
        if raw["ready"] is True:
            return Ready(int(raw["pid"]), int(raw["grpc_port"]), int(raw["admin_port"]))
        return NotStarted(str(raw["error"]), str(raw["message"]))
    except (ValueError, KeyError, TypeError):
        return None
