"""The state file: a launcher finds a server by it, and the next start keeps its port and token."""

from __future__ import annotations

import json
import os
import secrets
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path

from reapi_contract.data_dir import STATE_FILE
from reapi_contract.ownership import read_own

FORMAT = 1
"""It grows when a field changes its meaning; new fields alone leave it as it is."""

MIN_TOKEN_CHARACTERS = 32
"""A server makes a new token in place of a shorter one."""


@dataclass(frozen=True)
class State:
    """What a server wrote about itself. Sizes in bytes, times in seconds since the epoch.

    `pid` is None after the server has stopped gracefully. `boot_id` is new at each start, so it
    identifies a server even if another process gets the same pid. `grpc_port` stays the same over
    restarts if possible, and `token` unless the server was killed. `idle_exit_s` and `instances`
    are those that it was started with; None in the file of a release that did not write them.
    `ca_certs_path`: the certificates in PEM that clients on this machine must trust, "" if the
    server doesn't use TLS. `needs_client_certificate`: clients need a certificate of their own, and
    no token. `named_caches_bytes`: the limit of the named caches; 0 in the file of a release
    without one.
    """

    pid: int | None
    boot_id: str
    started_at: float
    version: str
    host: str
    grpc_port: int
    admin_port: int
    token: str = field(repr=False)
    data_dir: str
    max_size_bytes: int
    ca_certs_path: str = ""
    needs_client_certificate: bool = False
    format: int = FORMAT
    idle_exit_s: float | None = None
    instances: tuple[str, ...] | None = None
    named_caches_bytes: int = 0


def token_to_keep(last: State | None) -> str | None:
    """The token that the next server takes over; None if it must make a new one.

    After a server that was killed, a program of another user may have listened on its ports before
    the next start, and clients may have sent the token there.
    """
    if last is None or last.pid is not None or len(last.token) < MIN_TOKEN_CHARACTERS:
        return None
    return last.token


def new_token() -> str:
    """A token that nobody can guess, of 43 characters."""
    return secrets.token_urlsafe(32)


def write_state(path: str | Path, state: State) -> None:
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


def state_text(state: State) -> str:
    """The content of the state file."""
    return json.dumps(asdict(state), indent=2)


def read_state(data_dir: Path) -> State | None:
    """The state file in a data directory; None if there is none, or if it is damaged.

    A file that others may have written counts as none: it could name any server and any token.
    Unknown fields are ignored, because a newer server may have written the file.
    """
    try:
        raw = json.loads(read_own(data_dir / STATE_FILE))
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
            ca_certs_path=str(raw.get("ca_certs_path", "")),
            needs_client_certificate=raw.get("needs_client_certificate") is True,
            format=int(raw.get("format", FORMAT)),
            idle_exit_s=None if raw.get("idle_exit_s") is None else float(raw["idle_exit_s"]),
            named_caches_bytes=int(raw.get("named_caches_bytes", 0)),
            instances=None if raw.get("instances") is None else tuple(map(str, raw["instances"])),
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None
    except (OverflowError, RecursionError):  # numbers and nesting that no server writes
        return None
