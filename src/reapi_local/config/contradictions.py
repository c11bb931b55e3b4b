"""Settings that can't be used together, although each of them is valid."""

from __future__ import annotations

import os
from collections.abc import Iterator

from reapi_contract.sandbox_levels import PROCESS_GROUP
from reapi_local.config.loopback import is_loopback
from reapi_local.config.schema import Config


def contradictions(config: Config) -> Iterator[str]:
    """A sentence for each contradiction, with its remedy."""
    yield from _of_tls(config)
    yield from _of_shown_paths(config)
    if config.access.auth == "none":
        yield from _of_no_authentication(config)
    elif config.access.anonymous != "read":
        yield "anonymous has no effect while auth is token; leave it out, or set auth to none"


def _of_tls(config: Config) -> Iterator[str]:
    listen = config.listen
    if bool(listen.tls_cert) != bool(listen.tls_key):
        given, other = ("tls_cert", "tls_key") if listen.tls_cert else ("tls_key", "tls_cert")
        yield f"{given} is set without {other}; set both, or neither"
    elif listen.tls_client_ca and not listen.tls_cert:
        yield "tls_client_ca is set without tls_cert and tls_key; set all three, or none"
    if listen.tls_cert and listen.transport == "native":
        yield (
            "transport is native, which has no TLS; set it to grpcio or auto, or leave out tls_cert"
        )


def _of_shown_paths(config: Config) -> Iterator[str]:
    for path in config.execute.show:
        real, data_dir = os.path.realpath(path), os.path.realpath(config.data_dir)
        if real == data_dir or real.startswith(data_dir + os.sep):
            yield (
                f"show names {path}, which is in the server's data directory, and actions must not "
                "see the token; leave it out"
            )


def _of_no_authentication(config: Config) -> Iterator[str]:
    listen, execute = config.listen, config.execute
    if listen.transport == "native":
        yield (
            "auth is none, and transport is native, which has no limit for what calls without a "
            "token may send; set transport to grpcio or auto, or auth to token"
        )
    if not is_loopback(listen.host):
        yield (
            f"auth is none, and other machines can reach the server on {listen.host}; set host to "
            "127.0.0.1, or auth to token"
        )
    if listen.tls_client_ca:
        yield "auth is none, and tls_client_ca asks for certificates; leave out one of the two"
    # A process group has the network of the host even if the server is hermetic.
    has_no_network = execute.hermetic and execute.sandbox != PROCESS_GROUP
    if execute.execution != "off" and not has_no_network:
        yield (
            "auth is none, and actions that have a network may be executed: one of them could "
            "reach the server without a token, and write the cache; set execution to off, or "
            "hermetic to true with a sandbox that isolates the network"
        )
