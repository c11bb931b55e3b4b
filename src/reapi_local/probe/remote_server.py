"""Checks of somebody else's server: its address, token and certificates, and the proofs."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import grpc

from reapi_contract.command_line import SCHEME_PORTS
from reapi_contract.proof import Proof
from reapi_local.probe.round_trips import Client, RoundTrips

_SECURE = "grpcs"


class CannotTry(Exception):
    """The address or a file that the user gave can't be used; the message says why."""


@dataclass(frozen=True)
class Remote:
    """A server by its address: ``grpc://host:port``, or ``grpcs://`` for TLS.

    The other fields are paths of files, "" = no such file. ``token_path``: a bearer token. The rest
    are in PEM: the authorities to trust instead of gRPC's own list, and the client's certificate
    with its key.
    """

    address: str
    token_path: str = ""
    ca_certs_path: str = ""
    client_certs_path: str = ""
    client_key_path: str = ""

    def client(self) -> Client:
        """How to reach the server.

        Raises:
            CannotTry: the address is invalid, or a file can't be read.
        """
        try:
            token = _read(self.token_path).decode().strip()
            return Client(self._target(), token, self._tls())
        except (OSError, ValueError) as error:
            raise CannotTry(str(error)) from error

    def _target(self) -> str:
        parts = urlsplit(self.address)
        if parts.scheme not in SCHEME_PORTS or not parts.hostname:
            raise ValueError(f"{self.address!r} is not grpc://host:port or grpcs://host:port")
        host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
        return f"{host}:{parts.port or SCHEME_PORTS[parts.scheme]}"

    def _tls(self) -> grpc.ChannelCredentials | None:
        if urlsplit(self.address).scheme != _SECURE:
            return None
        paths = (self.ca_certs_path, self.client_key_path, self.client_certs_path)
        return grpc.ssl_channel_credentials(*(_read(path) or None for path in paths))


def check_remote(remote: Remote, instance: str) -> list[Proof]:
    """Make round trips as a client of ``instance``; returns the proofs.

    Raises:
        CannotTry: the address or a file that was given can't be used.
    """
    return asyncio.run(RoundTrips(remote.client(), instance, is_own=False).run())


def _read(path: str) -> bytes:
    return Path(path).read_bytes() if path else b""
