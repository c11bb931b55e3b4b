"""TLS: encrypted calls, certificates of clients, and files that change while the server runs."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import shutil
import socket
import ssl
import warnings
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import grpc
import pytest
import pytest_asyncio
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
)

from execute.sandbox_helpers import visible_directory
from reapi_contract.state import read_state
from reapi_local.compose.cannot_start import CannotStart
from reapi_local.proto.remote_execution_pb2 import GetCapabilitiesRequest
from rpc.actions import execute, make
from rpc.certificates import Authority, authority
from rpc.helpers import Server, consume, refusal, serving

UNAVAILABLE, UNAUTHENTICATED = grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.UNAUTHENTICATED


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return authority(tmp_path_factory.mktemp("tls"))


@pytest.fixture(scope="module")
def foreign(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return authority(tmp_path_factory.mktemp("foreign"))


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def encrypted(
    own: Authority, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Server]:
    async with serving(tmp_path_factory.mktemp("data"), "auto", **own.settings) as running:
        yield running


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def mutual(own: Authority, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Server]:
    async with serving(tmp_path_factory.mktemp("data"), "auto", **own.mutual) as running:
        yield running


async def capabilities(server: Server, tls: Any, *, token: bool = True, **more: Any) -> Any:
    """The answer to a call over a new connection."""
    call = server.connect(token=token, tls=tls).GetCapabilities(GetCapabilitiesRequest(), **more)
    [answer] = await consume(call)
    return answer


def call_of(server: Server, tls: Any, *, token: bool = True) -> Any:
    return server.connect(token=token, tls=tls).GetCapabilities(GetCapabilitiesRequest())


async def shown(server: Server) -> bytes:
    """The certificate that a new connection gets, in DER."""

    def connect() -> bytes:
        with socket.create_connection(("127.0.0.1", server.app.grpc_port)) as connection:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
            context.set_alpn_protocols(["h2"])
            with context.wrap_socket(connection) as encrypted:
                return encrypted.getpeercert(binary_form=True) or b""

    return await asyncio.to_thread(connect)


def in_der(path: Path) -> bytes:
    """The first certificate of a file."""
    end = "-----END CERTIFICATE-----\n"
    return ssl.PEM_cert_to_DER_cert(path.read_text().partition(end)[0] + end)


@pytest.mark.asyncio(loop_scope="module")
async def test_calls_are_encrypted_and_need_the_token(encrypted: Server, own: Authority) -> None:
    client = encrypted.connect(tls=own.trusting())
    digest = await client.upload(bytes(3_000_000))
    assert await client.download(digest) == bytes(3_000_000)
    await refusal(call_of(encrypted, own.trusting(), token=False), UNAUTHENTICATED, "token")
    await refusal(call_of(encrypted, None), UNAVAILABLE)
    assert encrypted.app.health().grpc_address == f"grpcs://localhost:{encrypted.app.grpc_port}"
    state = read_state(Path(encrypted.config.data_dir))
    assert state is not None
    assert state.ca_certs_path == str(own.path("server.pem"))
    assert not state.needs_client_certificate
    await capabilities(encrypted, grpc.ssl_channel_credentials(own.read("server.pem")))


@pytest.mark.asyncio(loop_scope="module")
async def test_a_client_that_trusts_another_authority_does_not_connect(
    encrypted: Server, foreign: Authority
) -> None:
    await refusal(call_of(encrypted, foreign.trusting()), UNAVAILABLE)


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize(
    ("version", "is_accepted"),
    [
        (ssl.TLSVersion.TLSv1, False),
        (ssl.TLSVersion.TLSv1_1, False),
        (ssl.TLSVersion.TLSv1_2, True),
        (ssl.TLSVersion.TLSv1_3, True),
    ],
)
async def test_versions_of_tls_before_1_2_are_refused(
    encrypted: Server, version: ssl.TLSVersion, is_accepted: bool
) -> None:
    def connect() -> str | None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        context.set_ciphers("ALL:@SECLEVEL=0")
        context.set_alpn_protocols(["h2"])
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the old ones are deprecated, as they should be
            context.minimum_version = context.maximum_version = version
        with socket.create_connection(("127.0.0.1", encrypted.app.grpc_port)) as connection:
            try:
                with context.wrap_socket(connection) as made:
                    return made.version()
            except OSError:
                return None

    assert (await asyncio.to_thread(connect) is not None) == is_accepted


@pytest.mark.asyncio(loop_scope="module")
async def test_a_clients_certificate_takes_the_place_of_the_token(
    mutual: Server, own: Authority
) -> None:
    client = mutual.connect(token=False, tls=own.trusting("client-me"))
    digest = await client.upload(b"from a client with a certificate")
    assert await client.missing(digest) == []
    await capabilities(mutual, own.trusting("client-me"))  # and the token may be sent as well
    wrong = client.GetCapabilities(
        GetCapabilitiesRequest(), metadata=[("authorization", "Bearer wrong")]
    )
    await refusal(wrong, UNAUTHENTICATED, "token")
    state = read_state(Path(mutual.config.data_dir))
    assert state is not None
    assert state.needs_client_certificate


@pytest.mark.asyncio(loop_scope="module")
async def test_without_a_certificate_for_clients_nobody_connects(
    mutual: Server, own: Authority, foreign: Authority
) -> None:
    refused = {
        "none": own.trusting(),
        "that of another authority": own.trusting("client-me", foreign),
        "that of the server": own.trusting("server"),
        "that of the authority": own.trusting("ca"),
    }
    for tls in refused.values():
        await refusal(call_of(mutual, tls), UNAVAILABLE)
    await refusal(call_of(mutual, None), UNAVAILABLE)


@pytest.mark.asyncio(loop_scope="module")
async def test_the_server_proves_that_it_works(encrypted: Server, mutual: Server) -> None:
    for server, is_token_needed in ((encrypted, True), (mutual, False)):
        proofs = {proof.name: proof for proof in await server.app.check("main")}
        assert all(proof.ok for proof in proofs.values()), proofs
        assert ("token" in proofs) == is_token_needed


async def test_a_new_pair_is_shown_to_new_connections_and_old_ones_go_on(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    own = authority(tmp_path / "tls")
    async with serving(tmp_path / "data", "grpcio", **own.settings) as server:
        before = await shown(server)
        assert before == in_der(own.path("server.pem"))
        old = server.connect(tls=own.trusting())
        await old.missing()
        authority(own.directory, ["new.example"], renew=True)
        after = await shown(server)
        assert after == in_der(own.path("server.pem")) != before
        await old.missing()
        await capabilities(server, own.trusting())
        assert "new certificates were loaded" in caplog.text
        assert all(proof.ok for proof in await server.app.check(""))


async def test_a_bad_new_pair_leaves_the_old_one_and_is_logged_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    own, other = authority(tmp_path / "tls"), authority(tmp_path / "other")
    async with serving(tmp_path / "data", "grpcio", **own.settings) as server:
        before = await shown(server)
        shutil.copy(other.path("server-key.pem"), own.path("server-key.pem"))
        for _ in range(3):
            assert await shown(server) == before
        [logged] = [one for one in caplog.messages if "stay in use" in one]
        assert "doesn't belong to the certificate" in logged
        own.path("server-key.pem").unlink()
        assert await shown(server) == before
        assert len([one for one in caplog.messages if "stay in use" in one]) == 2
        for name in ("server.pem", "server-key.pem"):
            shutil.copy(other.path(name), own.path(name))
        # Nobody has connected since: the check is the first that sees the new authority.
        assert all(proof.ok for proof in await server.app.check(""))
        assert await shown(server) == in_der(other.path("server.pem"))


async def test_another_authority_of_clients_is_taken_over_too(tmp_path: Path) -> None:
    own, other = authority(tmp_path / "tls"), authority(tmp_path / "other")
    clients = tmp_path / "clients.pem"
    shutil.copy(own.path("ca.pem"), clients)
    settings = {**own.settings, "tls_client_ca": str(clients)}
    async with serving(tmp_path / "data", "grpcio", **settings) as server:
        theirs = own.trusting("client-me", other)
        await capabilities(server, own.trusting("client-me"), token=False)
        await refusal(call_of(server, theirs), UNAVAILABLE)
        shutil.copy(other.path("ca.pem"), clients)
        await capabilities(server, theirs, token=False)
        await refusal(call_of(server, own.trusting("client-me")), UNAVAILABLE)
        assert all(proof.ok for proof in await server.app.check(""))


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (None, "can't be read: No such file"),
        (b"", "in PEM"),
        (b"-----BEGIN CERTIFICATE-----\nAA==\n-----END CERTIFICATE-----\n", "in PEM"),
        (b"-----BEGIN PRIVATE KEY-----\nAA==\n-----END PRIVATE KEY-----\n", "in PEM"),
    ],
)
@pytest.mark.parametrize("setting", ["tls_cert", "tls_key", "tls_client_ca"])
async def test_a_file_that_can_not_be_used_is_named_at_the_start(
    own: Authority, tmp_path: Path, setting: str, content: bytes | None, words: str
) -> None:
    bad = tmp_path / "bad.pem"
    if content is not None:
        bad.write_bytes(content)
    with pytest.raises(CannotStart) as caught:
        async with serving(tmp_path / "data", "auto", **{**own.mutual, setting: str(bad)}):
            pass
    assert caught.value.code == "settings"
    assert str(bad) in str(caught.value)
    assert words in str(caught.value)


async def test_a_key_of_another_certificate_is_refused(
    own: Authority, foreign: Authority, tmp_path: Path
) -> None:
    key = str(foreign.path("server-key.pem"))
    with pytest.raises(CannotStart, match="doesn't belong to the certificate"):
        async with serving(tmp_path / "data", "auto", **{**own.settings, "tls_key": key}):
            pass


@pytest.mark.parametrize(
    ("key", "passphrase", "words"),
    [
        (ec.generate_private_key(ec.SECP256R1()), b"secret", "has a passphrase"),
        (ed25519.Ed25519PrivateKey.generate(), b"", "neither RSA nor EC"),
    ],
)
async def test_a_key_that_grpc_can_not_use_is_refused_with_the_reason(
    own: Authority, tmp_path: Path, key: Any, passphrase: bytes, words: str
) -> None:
    bad = tmp_path / "key.pem"
    how = BestAvailableEncryption(passphrase) if passphrase else NoEncryption()
    bad.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, how))
    with pytest.raises(CannotStart, match=words):
        async with serving(tmp_path / "data", "auto", **{**own.settings, "tls_key": str(bad)}):
            pass


async def test_a_certificate_for_another_host_is_what_clients_are_told(tmp_path: Path) -> None:
    """Its address names a host of the certificate, which a client would otherwise refuse."""
    from reapi_local.compose.addresses import host_for_clients

    names = ("localhost", "cache.example", "127.0.0.1")
    assert host_for_clients("0.0.0.0", names) == "localhost"
    assert host_for_clients("::1", names) == "localhost"
    assert host_for_clients("0.0.0.0", ("cache.example", "127.0.0.1")) == "127.0.0.1"
    assert host_for_clients("10.0.0.5", ("cache.example", "10.0.0.5")) == "10.0.0.5"
    assert host_for_clients("10.0.0.5", names) == "cache.example"
    assert host_for_clients("127.0.0.2", ("*.example", "cache.example")) == "cache.example"
    assert host_for_clients("10.0.0.5", ("*.example",)) == "10.0.0.5"
    assert host_for_clients("10.0.0.5", ()) == "10.0.0.5"


async def test_what_should_not_be_so_is_warned_of(own: Authority, tmp_path: Path) -> None:
    from reapi_local.clock import ManualClock

    key = tmp_path / "key.pem"
    shutil.copy(own.path("server-key.pem"), key)
    key.chmod(0o644)
    far = ManualClock(now=4_000_000_000.0)
    settings = {**own.settings, "tls_key": str(key)}
    async with serving(tmp_path / "data", "auto", far, **settings) as server:
        expired, readable = server.app.warnings()
        assert "expired on" in expired
        assert "tls init --renew" in expired
        assert f"chmod 600 {key}" in readable
        assert (await server.status())["notes"] == [expired, readable]
        key.chmod(0o600)
        assert server.app.warnings() == (expired,)
    early = ManualClock(now=1_000_000_000.0)
    async with serving(tmp_path / "data", "auto", early, **own.settings) as server:
        [warning] = server.app.warnings()
        assert "valid only from" in warning


def test_the_state_of_a_server_before_this_release_has_no_tls(tmp_path: Path) -> None:
    state = {"pid": 1, "boot_id": "b", "started_at": 1.0, "version": "0", "host": "127.0.0.1"}
    state |= {"grpc_port": 1, "admin_port": 2, "token": "t", "data_dir": "/d", "max_size_bytes": 3}
    (tmp_path / "server.json").write_text(json.dumps(state))
    read = read_state(tmp_path)
    assert read is not None
    assert (read.ca_certs_path, read.needs_client_certificate) == ("", False)


@pytest.mark.parametrize("is_made_by_us", [True, False], ids=["tls init", "a key alone"])
async def test_actions_do_not_see_keys(tmp_path: Path, is_made_by_us: bool) -> None:
    """Whoever has the key of the authority makes a certificate that takes the place of a token."""
    with visible_directory(os.getuid()) as visible:
        own = authority(visible)
        (visible / "open").write_text("no secret\n")
        keys = ["ca-key.pem", "server-key.pem", "client-me-key.pem"]
        if not is_made_by_us:
            (visible / "ca-key.pem").unlink()
            keys = ["server-key.pem"]
        for key in keys:
            (visible / key).chmod(0o644)  # as if the sandbox alone kept them secret
        async with serving(tmp_path, "grpcio", execution="on", **own.settings) as server:
            client = server.connect(tls=own.trusting())
            files = " ".join(f"{visible}/{name}" for name in ("open", *keys))
            action = await make(client, "/bin/sh", "-c", f"cat {files}; echo seen")
            seen = await execute(client, action, inline_stdout=True)
    assert seen.result.stdout_raw == (b"seen\n" if is_made_by_us else b"no secret\nseen\n")
