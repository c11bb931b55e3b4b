"""Makes certificates: an authority, and the pairs that it signs.

Source: RFC 5280. Keys are on the curve P-256 and written in PKCS #8, which every client can read.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

_AUTHORITY_DAYS: Final = 3650
_PAIR_DAYS: Final = 825
"""Apple's systems refuse certificates of servers that are valid longer."""
_CLOCKS_DIFFER: Final = timedelta(days=1)


@dataclass(frozen=True)
class Pair:
    """A certificate and its key, in PEM."""

    certificate: bytes
    key: bytes


@dataclass(frozen=True)
class _Signer:
    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey


def make_authority(name: str) -> Pair:
    """A self-signed authority, which signs pairs but no other authorities."""
    key = ec.generate_private_key(ec.SECP256R1())
    builder = _begun(_subject(name), key, _AUTHORITY_DAYS).issuer_name(_subject(name))
    builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
    builder = builder.add_extension(_key_usage(signs_certificates=True), critical=True)
    return _signed(builder, key, key)


def make_server_pair(authority: Pair, hosts: Iterable[str]) -> Pair:
    """A pair for a server that clients call by these DNS names and addresses.

    Raises:
        ValueError: ``authority`` can't sign, or one of the hosts isn't one.
    """
    hosts = list(hosts)
    names = x509.SubjectAlternativeName([_general_name(host) for host in hosts])
    return _made(_signer(authority), hosts[0], ExtendedKeyUsageOID.SERVER_AUTH, names)


def make_client_pair(authority: Pair, name: str) -> Pair:
    """A pair for a client.

    Raises:
        ValueError: ``authority`` can't sign, or the name is too long.
    """
    return _made(_signer(authority), name, ExtendedKeyUsageOID.CLIENT_AUTH, None)


def make_own_client() -> Pair:
    """A pair for the server as its own client. It is its own authority, and is never stored."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = _subject("reapi-local itself")
    builder = _begun(subject, key, _AUTHORITY_DAYS).issuer_name(subject)
    usage = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH])
    return _signed(builder.add_extension(usage, critical=False), key, key)


def _made(
    signer: _Signer,
    name: str,
    usage: x509.ObjectIdentifier,
    names: x509.SubjectAlternativeName | None,
) -> Pair:
    key = ec.generate_private_key(ec.SECP256R1())
    builder = _begun(_subject(name[:64]), key, _PAIR_DAYS)
    builder = builder.issuer_name(signer.certificate.subject)
    builder = builder.add_extension(x509.BasicConstraints(ca=False, path_length=None), True)
    builder = builder.add_extension(_key_usage(signs_certificates=False), critical=True)
    builder = builder.add_extension(x509.ExtendedKeyUsage([usage]), critical=False)
    of_signer = x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.key.public_key())
    builder = builder.add_extension(of_signer, critical=False)
    if names is not None:
        builder = builder.add_extension(names, critical=False)
    return _signed(builder, key, signer.key)


def _begun(
    subject: x509.Name, key: ec.EllipticCurvePrivateKey, days: int
) -> x509.CertificateBuilder:
    now = datetime.now(UTC)
    identifier = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _CLOCKS_DIFFER)
        .not_valid_after(now + timedelta(days=days))
        .add_extension(identifier, critical=False)
    )


def _signed(
    builder: x509.CertificateBuilder,
    key: ec.EllipticCurvePrivateKey,
    signing: ec.EllipticCurvePrivateKey,
) -> Pair:
    certificate = builder.sign(signing, hashes.SHA256())
    return Pair(
        certificate.public_bytes(Encoding.PEM),
        key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()),
    )


def _signer(authority: Pair) -> _Signer:
    key = load_pem_private_key(authority.key, None)
    certificate = x509.load_pem_x509_certificate(authority.certificate)
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise ValueError("its key isn't one that `reapi-local tls init` makes")
    if key.public_key() != certificate.public_key():
        raise ValueError("its key belongs to another certificate")
    return _Signer(certificate, key)


def _subject(name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])


def _key_usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        encipher_only=False,
        decipher_only=False,
    )


def _general_name(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)
