"""Reads the files that TLS needs, and says what is wrong with them."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key

_NEW_PAIR: Final = "`reapi-local tls init` makes a new pair"


class UnusableTls(Exception):
    """A file can't be used for TLS: which one and why, and what to do."""

    def __init__(self, why: str, remedy: str = f"correct that setting; {_NEW_PAIR}") -> None:
        super().__init__(f"{why}; {remedy}")
        self.why, self.remedy = why, remedy


@dataclass(frozen=True)
class TlsPaths:
    """The files: the server's certificate with its chain, its key, and the authorities of clients.

    All are in PEM. ``client_ca``: "" = clients need no certificate.
    """

    certificate: str
    key: str
    client_ca: str = ""


@dataclass(frozen=True)
class Tls:
    """The content of the files, checked.

    ``names``: the hosts that the certificate is for, DNS names before addresses.
    """

    chain: bytes
    key: bytes
    client_ca: bytes
    names: tuple[str, ...]
    valid_from: datetime
    valid_until: datetime


def read_tls(paths: TlsPaths) -> Tls:
    """Read and check all files.

    Raises:
        UnusableTls: a file can't be read, isn't what it should be, or the key isn't the
            certificate's.
    """
    chain, key = _read(paths.certificate), _read(paths.key)
    certificate = _certificates(chain, paths.certificate)[0]
    if _private_key(key, paths.key).public_key() != certificate.public_key():
        raise UnusableTls(
            f"the key {paths.key} doesn't belong to the certificate {paths.certificate}",
            f"name the two files of one pair; {_NEW_PAIR}",
        )
    client_ca = b""
    if paths.client_ca:
        client_ca = _read(paths.client_ca)
        _certificates(client_ca, paths.client_ca)
    return Tls(
        chain=chain,
        key=key,
        client_ca=client_ca,
        names=tuple(_names(certificate)),
        valid_from=certificate.not_valid_before_utc,
        valid_until=certificate.not_valid_after_utc,
    )


def warnings(paths: TlsPaths, tls: Tls, now: float) -> Iterator[str]:
    """A sentence for each thing that works, but shouldn't be so; ``now`` in seconds (epoch)."""
    at = datetime.fromtimestamp(now, UTC)
    if at > tls.valid_until:
        yield (
            f"The certificate {paths.certificate} expired on {tls.valid_until:%Y-%m-%d}, so "
            "clients refuse it; `reapi-local tls init --renew` makes a new one."
        )
    if at < tls.valid_from:
        yield (
            f"The certificate {paths.certificate} is valid only from {tls.valid_from:%Y-%m-%d} on, "
            "so clients refuse it; correct the clock of this machine, or take another certificate."
        )
    try:
        is_open = bool(os.stat(paths.key).st_mode & stat.S_IROTH)
    except OSError:
        return
    if is_open:
        yield (
            f"Every user of this machine can read the key {paths.key}; close it with "
            f"`chmod 600 {paths.key}`."
        )


def _read(path: str) -> bytes:
    try:
        with open(path, "rb") as file:
            return file.read()
    except OSError as error:
        raise UnusableTls(
            f"{path} can't be read: {error.strerror or error}",
            f"correct the path, or let this user read it; {_NEW_PAIR}",
        ) from error


def _certificates(pem: bytes, path: str) -> list[x509.Certificate]:
    try:
        return x509.load_pem_x509_certificates(pem)
    except ValueError as error:
        raise UnusableTls(f"{path} has no certificate in PEM") from error


def _private_key(pem: bytes, path: str) -> RSAPrivateKey | EllipticCurvePrivateKey:
    try:
        key = load_pem_private_key(pem, None)
    except TypeError as error:
        raise UnusableTls(
            f"the key {path} has a passphrase, and nobody can be asked for it",
            f"write it without: `openssl pkey -in {path} -out FILE`",
        ) from error
    except (ValueError, UnsupportedAlgorithm) as error:
        raise UnusableTls(f"{path} has no private key in PEM") from error
    if not isinstance(key, RSAPrivateKey | EllipticCurvePrivateKey):
        raise UnusableTls(f"the key {path} is neither RSA nor EC, which gRPC needs")
    return key


def _names(certificate: x509.Certificate) -> Iterator[str]:
    try:
        extension = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName)
    except x509.ExtensionNotFound:
        return
    yield from extension.value.get_values_for_type(x509.DNSName)
    yield from map(str, extension.value.get_values_for_type(x509.IPAddress))
