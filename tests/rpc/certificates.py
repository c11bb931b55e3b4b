"""Certificates made for tests, by the code of `reapi-local tls init`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import grpc

from reapi_local.tls.init import init

HOSTS = ("localhost", "127.0.0.1", "::1")


@dataclass(frozen=True)
class Authority:
    """A directory with an authority, the pair of a server, and that of a client named `me`."""

    directory: Path

    def path(self, name: str) -> Path:
        return self.directory / name

    def read(self, name: str) -> bytes:
        return self.path(name).read_bytes()

    @property
    def settings(self) -> dict[str, str]:
        """The settings of a server with TLS."""
        return {
            "tls_cert": str(self.path("server.pem")),
            "tls_key": str(self.path("server-key.pem")),
        }

    @property
    def mutual(self) -> dict[str, str]:
        """The settings of a server that asks for certificates too."""
        return {**self.settings, "tls_client_ca": str(self.path("ca.pem"))}

    def trusting(self, pair: str = "", of: Authority | None = None) -> grpc.ChannelCredentials:
        """Credentials that trust this authority, and show a pair of ``of``, itself by default."""
        if not pair:
            return grpc.ssl_channel_credentials(self.read("ca.pem"))
        shown = of or self
        key, chain = shown.read(f"{pair}-key.pem"), shown.read(f"{pair}.pem")
        return grpc.ssl_channel_credentials(self.read("ca.pem"), key, chain)


def authority(directory: Path, hosts: Sequence[str] = (), *, renew: bool = False) -> Authority:
    """Make an authority, or with ``renew`` new pairs of one that is there."""
    init(directory, hosts, ["me"], renew=renew)
    return Authority(directory)
