"""The ready line: a server reports the end of its start in one line of JSON.

It writes the line to the file descriptor that its starter gave it.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import Union

FLAG = "--ready-fd"
"""The number of the descriptor."""

VERSION_FLAG = "--version-label"
"""The version that the server gives as its own."""

# Why a server could not start: codes for programs.
SETTINGS = "settings"
PORT_IN_USE = "port-in-use"
DATA_DIR_IN_USE = "data-dir-in-use"
DATA_DIR_UNUSABLE = "data-dir-unusable"
DISK_FULL = "disk-full"
NO_SANDBOX = "no-sandbox"
FAILED = "failed"


@dataclass(frozen=True)
class Ready:
    """The server serves."""

    pid: int
    grpc_port: int
    admin_port: int


@dataclass(frozen=True)
class NotStarted:
    """The server could not start. `error` is one of the codes above, `message` says why to people.

    `remedy` says what to do; it is "" where the launcher knows that from the code.
    """

    error: str
    message: str
    remedy: str = ""


ReadyLine = Union[Ready, NotStarted]


def encode(line: ReadyLine) -> str:
    """The line, with its line break."""
    return json.dumps({"ready": isinstance(line, Ready), **asdict(line)}) + "\n"


def decode(data: bytes) -> ReadyLine | None:
    """The line that a server wrote; None if `data` is no such line."""
    try:
        raw = json.loads(data)
        if raw["ready"] is True:
            return Ready(int(raw["pid"]), int(raw["grpc_port"]), int(raw["admin_port"]))
        return NotStarted(str(raw["error"]), str(raw["message"]), str(raw.get("remedy", "")))
    except (ValueError, KeyError, TypeError, OverflowError, RecursionError):
        return None
