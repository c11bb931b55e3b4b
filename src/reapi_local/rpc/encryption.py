"""TLS of the gRPC server. gRPC itself refuses versions before 1.2."""

from __future__ import annotations

import grpc

from reapi_local.clock import Clock
from reapi_local.tls.issuing import Pair, make_own_client
from reapi_local.tls.pem_files import Tls, TlsPaths, warnings
from reapi_local.tls.watched import WatchedTls


class Encryption:
    """The certificates in the files, each new connection with what they hold then.

    If the files name authorities of clients, every client needs a certificate of theirs.

    Raises:
        UnusableTls: the files can't be used.
    """

    def __init__(self, paths: TlsPaths, clock: Clock) -> None:
        self._clock = clock
        self._watched = WatchedTls(paths)
        self._shown = self._watched.latest()
        # Only in memory: where clients need a certificate, the server's check of itself needs one.
        self._own_client: Pair | None = make_own_client() if paths.client_ca else None

    @property
    def names(self) -> tuple[str, ...]:
        """The hosts that the certificate is for."""
        return self._watched.latest().names

    def server_credentials(self) -> grpc.ServerCredentials:
        """Credentials to listen with; they follow the files."""
        return grpc.dynamic_ssl_server_credentials(
            self._configuration(self._shown),
            self._changed,  # type: ignore[arg-type]  # None is in its documentation, not its stubs
            require_client_authentication=self._own_client is not None,
        )

    def channel_credentials(self) -> grpc.ChannelCredentials:
        """Credentials with which the server calls itself. They trust the certificate's chain."""
        own, chain = self._own_client, self._watched.latest().chain
        if own is None:
            return grpc.ssl_channel_credentials(chain)
        return grpc.ssl_channel_credentials(chain, own.key, own.certificate)

    def warnings(self) -> tuple[str, ...]:
        """A sentence for each thing that works, but shouldn't be so."""
        watched = self._watched
        return tuple(warnings(watched.paths, watched.latest(), self._clock.now()))

    def _changed(self) -> grpc.ServerCertificateConfiguration | None:
        latest = self._watched.latest()
        if latest is self._shown:
            return None
        self._shown = latest
        return self._configuration(latest)

    def _configuration(self, tls: Tls) -> grpc.ServerCertificateConfiguration:
        own = self._own_client
        trusted = tls.client_ca + b"\n" + own.certificate if own else None
        return grpc.ssl_server_certificate_configuration([(tls.key, tls.chain)], trusted)
