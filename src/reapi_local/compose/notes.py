"""What the user of a server should know of its settings."""

from __future__ import annotations

from collections.abc import Iterator

from reapi_local.config.loopback import is_loopback
from reapi_local.config.schema import Config


def notes_of(config: Config) -> Iterator[str]:
    """Sentences about who may do what, and who can listen. The status has them."""
    yield from _warnings(config)
    if config.listen.tls_client_ca:
        yield (
            f"Every client needs a certificate that an authority of {config.listen.tls_client_ca} "
            "signed, and no token."
        )


def warnings_at_start(config: Config) -> Iterator[str]:
    """What to warn of, and whether actions are executed, which the status tells elsewhere."""
    yield from _warnings(config)
    if not is_loopback(config.listen.host) and config.execute.execution == "auto":
        yield (
            "Actions are not executed, because other machines can reach the server; "
            "--execution on executes them."
        )


def _warnings(config: Config) -> Iterator[str]:
    if config.access.auth == "none":
        may = "read and write" if config.access.anonymous == "write" else "read"
        yield (
            f"auth is none: without a token every program of every user of this machine may {may} "
            "everything in the cache. To execute, and to administer, the token is needed."
        )
    if not is_loopback(config.listen.host) and not config.listen.tls_cert:
        yield (
            f"Other machines can reach the server on {config.listen.host}, and nothing is "
            "encrypted: the token and all content can be read on the way. `reapi-local tls init` "
            "makes the files for --tls-cert and --tls-key."
        )
