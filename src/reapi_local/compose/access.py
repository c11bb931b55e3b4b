"""Who may call, and over what kind of connection, as the settings say."""

from __future__ import annotations

from typing import TYPE_CHECKING

from reapi_contract import ready_line
from reapi_local.access.principal import OWNER, READER, WRITER, Principal
from reapi_local.clock import Clock
from reapi_local.compose.cannot_start import CannotStart
from reapi_local.config.schema import Config
from reapi_local.tls.names import INSTALL_IT, NO_LIBRARY

if TYPE_CHECKING:
    from reapi_local.rpc.encryption import Encryption


def encryption_of(config: Config, clock: Clock) -> Encryption | None:
    """TLS as the settings ask for it; None if they don't."""
    if not config.listen.tls_cert:
        return None
    try:
        from reapi_local.rpc.encryption import Encryption  # most servers need no cryptography
        from reapi_local.tls.pem_files import TlsPaths, UnusableTls
    except ImportError as error:
        raise CannotStart(ready_line.SETTINGS, NO_LIBRARY, INSTALL_IT) from error
    listen = config.listen
    try:
        return Encryption(TlsPaths(listen.tls_cert, listen.tls_key, listen.tls_client_ca), clock)
    except UnusableTls as error:
        raise CannotStart(ready_line.SETTINGS, error.why, error.remedy) from error


def without_token(config: Config) -> Principal | None:
    """Who makes a gRPC call without a token; None = nobody may."""
    if config.listen.tls_client_ca:
        return OWNER  # only clients with a certificate can connect at all
    if config.access.auth == "none":
        return WRITER if config.access.anonymous == "write" else READER
    return None
