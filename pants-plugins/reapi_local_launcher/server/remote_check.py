"""Proofs for a server that somebody else runs: it is reachable, and round trips succeed."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit

from reapi_contract import command_line, proof
from reapi_contract.command_line import SCHEME_PORTS
from reapi_contract.proof import Proof, proofs_from
from reapi_local_launcher.launcher_error import LauncherError
from reapi_local_launcher.patience import run_patiently
from reapi_local_launcher.server_settings import ServerSettings
from reapi_local_launcher.source import find_source
from reapi_local_launcher.token_file import read_token

_STILL_S = 60.0


@dataclass(frozen=True)
class RemoteEndpoint:
    """How to reach a server as a client: `grpc://host:port`, or `grpcs://` for TLS.

    The other fields are paths of files: a bearer token; in PEM the authorities to trust, and the
    client's own certificate with its key.
    """

    address: str
    token_path: str | None = None
    ca_certs_path: str | None = None
    client_certs_path: str | None = None
    client_key_path: str | None = None

    @property
    def flags(self) -> list[str]:
        """The files as flags of the server's `check` command."""
        files = {
            command_line.TOKEN_PATH_FLAG: self.token_path,
            command_line.CA_CERTS_PATH_FLAG: self.ca_certs_path,
            command_line.CLIENT_CERTS_PATH_FLAG: self.client_certs_path,
            command_line.CLIENT_KEY_PATH_FLAG: self.client_key_path,
        }
        return [f"{flag}={path}" for flag, path in files.items() if path]


def check_remote(
    endpoint: RemoteEndpoint,
    instance: str,
    settings: ServerSettings,
    env: Mapping[str, str],
    progress: Callable[[str], None],
) -> list[Proof]:
    """The proofs. The round trips are left out if the address or the token cannot be used.

    Round trips need the packages of the server; their environment is made if it is missing. Raises
    LauncherError if no Python can run them.
    """
    proofs = [_reachable(endpoint.address, settings), _token(endpoint.token_path, settings)]
    if not all(one.ok for one in proofs):
        return proofs
    from reapi_local_launcher.python.choose_interpreter import prepare_interpreter
    from reapi_local_launcher.server.spawn import program

    python, environment = prepare_interpreter(settings, env, find_source(), progress)
    command = [*program(python), command_line.CHECK, endpoint.address]
    command += [f"{command_line.INSTANCE_FLAG}={instance}", *endpoint.flags]
    try:
        return proofs + _round_trips(command, environment)
    except _NoProofsError as error:
        remedy = _remedy(settings)
        return [*proofs, Proof(proof.ROUND_TRIPS, False, 0.0, str(error), remedy)]


def _reachable(address: str, settings: ServerSettings) -> Proof:
    began = time.monotonic()
    try:
        parts = urlsplit(address)
        if parts.scheme not in SCHEME_PORTS:
            raise ValueError("an address begins with grpc:// or grpcs://")
        where = (parts.hostname or "", parts.port or SCHEME_PORTS[parts.scheme])
        with socket.create_connection(where, timeout=5):
            milliseconds = 1000 * (time.monotonic() - began)
    except (OSError, ValueError) as error:
        return Proof(proof.REACHABLE, False, 0.0, f"{address}: {error}", _remedy(settings))
    return Proof(proof.REACHABLE, True, milliseconds, f"{address}, run by somebody else")


def _token(path: str | None, settings: ServerSettings) -> Proof:
    try:
        read_token(path, settings.labels.token_path)
    except LauncherError as error:
        return Proof(proof.TOKEN, False, 0.0, f"{error.what} {error.why}", error.remedy)
    return Proof(proof.TOKEN, True, 0.0, "none is sent" if path is None else f"read from {path}")


def _remedy(settings: ServerSettings) -> str:
    return f"Ask the people who run it, or correct {settings.labels.address}."


class _NoProofsError(Exception):
    """The command that tries the server reported no proofs; the message says why."""


def _round_trips(command: list[str], env: Mapping[str, str]) -> list[Proof]:
    done = run_patiently(command, env, _STILL_S)
    if done is None:
        raise _NoProofsError(f"no answer, and no progress for {_STILL_S:g} s")
    try:
        return proofs_from(json.loads(done.stdout))
    except ValueError:
        last_line = done.stderr.decode(errors="replace").strip().rpartition("\n")[2]
        raise _NoProofsError(last_line) from None
