"""Proofs that a server works which somebody else runs: its address, token and certificates."""

from __future__ import annotations

import asyncio
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import grpc

from reapi_local.probe.round_trips import Client, RoundTrips

_SECURE = "grpcs"
_PORTS = {"grpc": 80, _SECURE: 443}


class CannotTry(Exception):
    """What the user gave to reach the server with can't be used; the message says why."""


@dataclass(frozen=True)
class Remote:
    """A server as clients are told of it: ``grpc://host:port``, or ``grpcs://`` for TLS.

    The others are paths of files, "" = none: a bearer token, and in PEM the authorities to trust
    instead of those that gRPC comes with, and the client's own certificate with its key.
    """

    address: str
    token_path: str = ""
    ca_certs_path: str = ""
    client_certs_path: str = ""
    client_key_path: str = ""

    def client(self) -> Client:
        """How to reach it.

        Raises:
            CannotTry: the address is none, or a file can't be read.
        """
        try:
            token = _read(self.token_path).decode().strip()
            return Client(self._target(), token, self._tls())
        except (OSError, ValueError) as error:
            raise CannotTry(str(error)) from error

    def _target(self) -> str:
        parts = urlsplit(self.address)
        if parts.scheme not in _PORTS or not parts.hostname:
            raise ValueError(f"{self.address!r} is no grpc://host:port or grpcs://host:port")
        host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
        return f"{host}:{parts.port or _PORTS[parts.scheme]}"

    def _tls(self) -> grpc.ChannelCredentials | None:
        if urlsplit(self.address).scheme != _SECURE:
            return None
        paths = (self.ca_certs_path, self.client_key_path, self.client_certs_path)
        return grpc.ssl_channel_credentials(*(_read(path) or None for path in paths))


def check_remote(remote: Remote, instance: str) -> list[dict[str, Any]]:
    """Round trips as a client of ``instance``; the proofs as an object each.

    Raises:
        CannotTry: there is no way to reach it with what was given.
    """
    checker = RoundTrips(remote.client(), instance, sandbox=None)
    return [asdict(proof) for proof in asyncio.run(checker.run())]


def _read(path: str) -> bytes:
    return Path(path).read_bytes() if path else b""
