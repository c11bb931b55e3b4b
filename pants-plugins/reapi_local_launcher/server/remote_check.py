"""Proofs that a server works which somebody else runs: reachable from here, then round trips."""

from __future__ import annotations

import json
import socket
import subprocess
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from urllib.parse import urlsplit

from reapi_local_launcher.errors import LauncherError
from reapi_local_launcher.server.check import Proof, proof_from
from reapi_local_launcher.settings import Settings
from reapi_local_launcher.source import find_source
from reapi_local_launcher.token_file import read_token

_MAX_S = 60.0
_PORTS = {"grpc": 80, "grpcs": 443}


@dataclass(frozen=True)
class Remote:
    """A server as clients are told of it: `grpc://host:port`, or `grpcs://` for TLS.

    The others are paths of files: a bearer token, and in PEM the authorities to trust, and the
    client's own certificate with its key.
    """

    address: str
    token_path: str | None = None
    ca_certs_path: str | None = None
    client_certs_path: str | None = None
    client_key_path: str | None = None

    @property
    def flags(self) -> list[str]:
        """All but the address, for the server's own command."""
        files = {
            "--token-path": self.token_path,
            "--ca-certs-path": self.ca_certs_path,
            "--client-certs-path": self.client_certs_path,
            "--client-key-path": self.client_key_path,
        }
        return [f"{flag}={path}" for flag, path in files.items() if path]


def check_remote(
    remote: Remote,
    instance: str,
    settings: Settings,
    env: Mapping[str, str],
    progress: Callable[[str], None],
) -> list[Proof]:
    """The proofs, as far as they can be tried. Raises LauncherError if no Python can try them.

    Round trips take the server's packages, whose environment is made if it isn't there.
    """
    proofs = [_reachable(remote.address, settings), _token(remote.token_path, settings)]
    if not all(proof.ok for proof in proofs):
        return proofs
    from reapi_local_launcher.python import interpreter

    python, environment = interpreter.ready(settings, env, find_source(), progress)
    command = [python.path, "-P", "-m", "reapi_local", "check", remote.address]
    command += [f"--instance={instance}", *remote.flags]
    try:
        return proofs + _round_trips(command, environment)
    except _NoProofsError as error:
        remedy = f"Ask who runs it, or correct {settings.words.address}."
        return [*proofs, Proof("round-trips", False, 0.0, str(error), remedy)]


def _reachable(address: str, settings: Settings) -> Proof:
    began = time.monotonic()
    proof = Proof("reachable", True, 0.0, f"{address}, run by somebody else", "")
    try:
        parts = urlsplit(address)
        if parts.scheme not in _PORTS:
            raise ValueError("an address begins with grpc:// or grpcs://")
        where = (parts.hostname or "", parts.port or _PORTS[parts.scheme])
        with socket.create_connection(where, timeout=5):
            return replace(proof, milliseconds=1000 * (time.monotonic() - began))
    except (OSError, ValueError) as error:
        remedy = f"Ask who runs it, or correct {settings.words.address}."
        return Proof("reachable", False, 0.0, f"{address}: {error}", remedy)


def _token(path: str | None, settings: Settings) -> Proof:
    try:
        read_token(path, settings.words.token_path)
    except LauncherError as error:
        return Proof("token", False, 0.0, f"{error.what} {error.why}", error.remedy)
    return Proof("token", True, 0.0, "none is sent" if path is None else f"read from {path}", "")


class _NoProofsError(Exception):
    """The command that tries the server told nothing of it; the message says why."""


def _round_trips(command: list[str], env: Mapping[str, str]) -> list[Proof]:
    try:
        done = subprocess.run(
            command,
            env=env,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=_MAX_S,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise _NoProofsError(f"no answer within {_MAX_S:g} s") from None
    try:
        return [proof_from(raw) for raw in json.loads(done.stdout)["proofs"]]
    except (ValueError, LookupError):
        last_line = done.stderr.decode(errors="replace").strip().rpartition("\n")[2]
        raise _NoProofsError(last_line) from None
