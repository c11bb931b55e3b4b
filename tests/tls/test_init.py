"""`tls init`: what it makes, what it keeps, and what it prints."""

from __future__ import annotations

import ipaddress
import os
import shutil
import stat
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.x509.verification import PolicyBuilder, Store

from reapi_local.cli import main

ALL = {"ca.pem", "ca-key.pem", "server.pem", "server-key.pem"}


def made(directory: Path, *flags: str) -> None:
    """Run the command, which must succeed."""
    assert main(["tls", "init", str(directory), *flags]) == 0


def contents(directory: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in directory.iterdir()}


def certificates(path: Path) -> list[x509.Certificate]:
    return x509.load_pem_x509_certificates(path.read_bytes())


def names(path: Path) -> list[str]:
    extensions = certificates(path)[0].extensions
    names = extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    return [str(name.value) for name in names]


def is_trusted_for(directory: Path, host: str) -> bool:
    """Whether a client that trusts the authority accepts the server's certificate."""
    subject: x509.DNSName | x509.IPAddress = x509.DNSName(host)
    if host[0] in "0123456789:":
        subject = x509.IPAddress(ipaddress.ip_address(host))
    policy = PolicyBuilder().store(Store(certificates(directory / "ca.pem")))
    server = certificates(directory / "server.pem")
    try:
        policy.build_server_verifier(subject).verify(server[0], server[1:])
    except x509.verification.VerificationError:
        return False
    return True


def test_it_makes_an_authority_and_a_pair_that_clients_of_this_machine_accept(
    tmp_path: Path,
) -> None:
    made(tmp_path / "tls", "--host", "cache.example", "--host", "10.0.0.5")
    assert contents(tmp_path / "tls").keys() == ALL
    for host in ("localhost", "127.0.0.1", "::1", "cache.example", "10.0.0.5"):
        assert is_trusted_for(tmp_path / "tls", host)
    assert os.uname().nodename in names(tmp_path / "tls" / "server.pem")
    assert not is_trusted_for(tmp_path / "tls", "other.example")
    until = certificates(tmp_path / "tls" / "server.pem")[0].not_valid_after_utc
    assert timedelta(days=800) < until - datetime.now(UTC) < timedelta(days=826)


def test_a_client_gets_a_certificate_for_clients_alone(tmp_path: Path) -> None:
    made(tmp_path, "--client", "ci", "--client", "me@laptop")
    for name in ("ci", "me@laptop"):
        [client] = certificates(tmp_path / f"client-{name}.pem")
        usage = client.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
        assert list(usage) == [x509.ExtendedKeyUsageOID.CLIENT_AUTH]
        assert client.subject.rfc4514_string() == f"CN={name}"
        client.verify_directly_issued_by(certificates(tmp_path / "ca.pem")[0])


def test_keys_are_for_the_user_alone(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        made(tmp_path / "new" / "tls", "--client", "ci")
    finally:
        os.umask(before)
    directory = tmp_path / "new" / "tls"
    assert stat.S_IMODE(directory.stat().st_mode) == 0o700
    for path in directory.iterdir():
        expected = 0o600 if path.name.endswith("-key.pem") else 0o644
        assert stat.S_IMODE(path.stat().st_mode) == expected, path


def test_nothing_is_overwritten_unless_it_is_asked_for(tmp_path: Path) -> None:
    made(tmp_path, "--client", "one")
    first = contents(tmp_path)
    made(tmp_path, "--client", "two")
    second = contents(tmp_path)
    assert second.items() > first.items()
    assert second.keys() - first.keys() == {"client-two.pem", "client-two-key.pem"}
    made(tmp_path, "--renew", "--client", "two")
    third = contents(tmp_path)
    changed = {name for name in third if third[name] != second[name]}
    renewed = {"server.pem", "server-key.pem", "client-two.pem", "client-two-key.pem"}
    assert changed == renewed


def test_a_renewed_pair_is_for_the_hosts_of_the_old_one_too(tmp_path: Path) -> None:
    made(tmp_path, "--host", "old.example")
    made(tmp_path, "--renew", "--host", "new.example")
    assert is_trusted_for(tmp_path, "old.example")
    assert is_trusted_for(tmp_path, "new.example")


@pytest.mark.parametrize(
    ("prepare", "flags", "words"),
    [
        ([], ["--host", "new.example"], "and not for new.example; --renew"),
        ([], ["--host", "https://new.example"], "without a scheme"),
        ([], ["--host", "bücher.example"], "xn--"),
        ([], ["--client", "../up"], "can't name a client"),
        ([], ["--client", ""], "can't name a client"),
        (["ca.pem"], [], "without the other file of its pair"),
        (["server-key.pem"], [], "without the other file of its pair"),
        (["ca.pem", "ca-key.pem"], [], "isn't there any more; --renew"),
    ],
)
def test_what_can_not_be_done_is_refused_and_changes_nothing(
    tmp_path: Path,
    prepare: list[str],
    flags: list[str],
    words: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    made(tmp_path)
    for name in prepare:
        (tmp_path / name).unlink()
    before = contents(tmp_path)
    assert main(["tls", "init", str(tmp_path), *flags]) == 1
    assert words in capsys.readouterr().err
    assert contents(tmp_path) == before


def test_files_of_another_kind_are_not_taken_for_an_authority(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    made(tmp_path)
    shutil.copy(tmp_path / "server-key.pem", tmp_path / "ca-key.pem")
    assert main(["tls", "init", str(tmp_path), "--renew"]) == 1
    assert "its key belongs to another certificate" in capsys.readouterr().err


def test_a_directory_that_can_not_be_made_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").touch()
    assert main(["tls", "init", str(tmp_path / "file" / "tls")]) == 1
    assert f"{tmp_path}/file" in capsys.readouterr().err
