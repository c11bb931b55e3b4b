"""Which transport serves gRPC."""

from __future__ import annotations

import logging

from reapi_local.compose.access import without_token
from reapi_local.compose.socket_directory import SocketDirectory
from reapi_local.config.loopback import is_loopback
from reapi_local.config.schema import Config, Transport

_log = logging.getLogger(__name__)


def choose_transport(config: Config, sockets: SocketDirectory) -> Transport:
    """The transport that the settings name, or else the fastest one that is safe.

    pygrpc-native has no TLS, and has no limit for messages. So it is used only on loopback,
    unless it is named, and only where each call needs the token. It also needs a unix socket.
    """
    listen = config.listen
    if listen.transport != "auto":
        return listen.transport
    if listen.tls_cert or not is_loopback(listen.host) or without_token(config):
        return "grpcio"
    if why := sockets.why_unusable():
        _log.warning("using the transport grpcio, because native needs a unix socket: %s", why)
        return "grpcio"
    return "auto"
