"""`reapi-local check --address`: proofs on a server that somebody else runs."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.protobuf.message import Message

from launcher.harness import CHECKOUT
from reapi_local.proto import remote_execution_pb2 as re_pb2

_ROUND_TRIPS = ["capabilities", "blob", "action-result", "instance"]


class CommandLine:
    """`reapi-local` of this checkout, for a user with an empty home."""

    def __init__(self, home: Path) -> None:
        self._env = {
            **os.environ,
            "HOME": str(home),
            "PYTHONPATH": f"{CHECKOUT}/pants-plugins:{CHECKOUT}/src",
        }

    def run(self, *arguments: str) -> tuple[int, Any]:
        """The exit status, and the JSON that was written."""
        command = [sys.executable, "-m", "reapi_local_launcher", *arguments]
        done = subprocess.run(
            [*command, "--format=json"], env=self._env, check=False, capture_output=True
        )
        return done.returncode, json.loads(done.stdout)

    def check(self, address: str, *flags: str) -> tuple[int, dict[str, dict[str, Any]]]:
        """The exit status, and the proofs by their names."""
        mine = f"--server-python={sys.executable}"
        status, answer = self.run("check", f"--address={address}", mine, *flags)
        return status, {proof["name"]: proof for proof in answer["proofs"]}


@pytest.fixture
def user(tmp_path: Path) -> CommandLine:
    (tmp_path / "home").mkdir()
    return CommandLine(tmp_path / "home")


@pytest.fixture
def theirs(user: CommandLine, tmp_path: Path) -> Iterator[dict[str, Any]]:
    where = f"--data-dir={tmp_path}/theirs"
    status, answer = user.run(
        "up", where, "--show-token", "--instance=team", f"--server-python={sys.executable}"
    )
    assert status == 0
    (tmp_path / "token").write_text(answer["token"])
    yield answer
    user.run("down", "--kill", where)


def test_every_round_trip_is_tried_as_a_client(
    user: CommandLine, theirs: dict[str, Any], tmp_path: Path
) -> None:
    token = f"--token-path={tmp_path}/token"
    status, proofs = user.check(theirs["grpc_address"], token, "--instance=team")
    assert (status, list(proofs)) == (0, ["reachable", "token", *_ROUND_TRIPS])
    assert all(proof["ok"] for proof in proofs.values())
    assert proofs["capabilities"]["detail"] == "REAPI 2.0 to 2.3"
    assert proofs["instance"]["detail"] == "team"


@pytest.mark.parametrize(
    ("token", "instance", "code", "ask"),
    [
        ("wrong", "team", "UNAUTHENTICATED", "for the right token"),
        (None, "other", "INVALID_ARGUMENT", "which instance names it has"),
    ],
)
def test_a_refusal_ends_the_check_with_what_to_ask(
    user: CommandLine,
    theirs: dict[str, Any],
    tmp_path: Path,
    token: str | None,
    instance: str,
    code: str,
    ask: str,
) -> None:
    if token is not None:
        (tmp_path / "token").write_text(token)
    flags = (f"--token-path={tmp_path}/token", f"--instance={instance}")
    status, proofs = user.check(theirs["grpc_address"], *flags)
    assert (status, list(proofs)) == (1, ["reachable", "token", "capabilities"])
    failed = proofs["capabilities"]
    assert failed["detail"].startswith(f"{code}: ")
    assert ask in failed["remedy"]


def test_without_a_token_the_remedy_is_to_name_the_file_that_holds_it(
    user: CommandLine, theirs: dict[str, Any]
) -> None:
    status, proofs = user.check(theirs["grpc_address"], "--instance=team")
    assert (status, proofs["capabilities"]["ok"]) == (1, False)
    assert "file that holds the token" in proofs["capabilities"]["remedy"]


def test_a_port_where_nobody_speaks_grpc_fails(user: CommandLine) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.listen(1)
        with ThreadPoolExecutor(1) as pool:
            pool.submit(_hang_up_twice, server)
            status, proofs = user.check(f"grpc://127.0.0.1:{server.getsockname()[1]}")
    assert (status, list(proofs)) == (1, ["reachable", "token", "capabilities"])
    assert proofs["capabilities"]["detail"].startswith("UNAVAILABLE: ")


def _hang_up_twice(server: socket.socket) -> None:
    """Close two connections: that of the proof `reachable`, and that of the gRPC client."""
    for _ in range(2):
        server.accept()[0].close()


@pytest.mark.parametrize("address", ["127.0.0.1:1", "http://127.0.0.1:1", "grpc://[::1", "grpc://"])
def test_what_is_no_address_is_not_tried(user: CommandLine, address: str) -> None:
    status, proofs = user.check(address)
    assert (status, proofs["reachable"]["ok"]) == (1, False)
    assert address in proofs["reachable"]["detail"]
    assert "correct --address" in proofs["reachable"]["remedy"]


def test_certificates_that_cannot_be_read_are_named(user: CommandLine, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"grpcs://127.0.0.1:{server.getsockname()[1]}"
        status, proofs = user.check(address, f"--ca-certs-path={tmp_path}/missing.pem")
    assert status == 1
    assert "missing.pem" in proofs["round-trips"]["detail"]


class StandIn(grpc.GenericRpcHandler):  # type: ignore[type-arg]  # generic in its stubs alone
    """A server that lets its clients read only, for addresses that begin with grpcs://."""

    def __init__(self, certificate: Path, key: Path) -> None:
        self.methods: list[str] = []
        self._answers: dict[str, Callable[[bytes], Message]] = {
            "GetCapabilities": self._capabilities,
            "FindMissingBlobs": self._missing,
        }
        self._server = grpc.server(ThreadPoolExecutor(2))
        self._server.add_generic_rpc_handlers((self,))
        pair = (key.read_bytes(), certificate.read_bytes())
        credentials = grpc.ssl_server_credentials([pair])
        self.port = self._server.add_secure_port("127.0.0.1:0", credentials)
        self._server.start()

    def close(self) -> None:
        self._server.stop(None).wait()

    def service(self, details: grpc.HandlerCallDetails) -> Any:
        method = details.method.rpartition("/")[2]
        self.methods.append(method)
        return grpc.unary_unary_rpc_method_handler(
            lambda request, _: self._answers[method](request).SerializeToString()
        )

    def _capabilities(self, _: bytes) -> re_pb2.ServerCapabilities:
        return re_pb2.ServerCapabilities(
            cache_capabilities={"digest_functions": ["SHA256"]},
            low_api_version={"major": 2},
            high_api_version={"major": 2, "minor": 1},
        )

    def _missing(self, request: bytes) -> re_pb2.FindMissingBlobsResponse:
        asked = re_pb2.FindMissingBlobsRequest.FromString(request)
        return re_pb2.FindMissingBlobsResponse(missing_blob_digests=asked.blob_digests)


@pytest.fixture
def pair(tmp_path: Path) -> tuple[Path, Path]:
    """A certificate for 127.0.0.1 and its key."""
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    command = ["openssl", "req", "-x509", "-nodes", "-newkey", "rsa:2048", "-days", "2"]
    command += ["-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1"]
    subprocess.run(
        [*command, "-keyout", str(key), "-out", str(certificate)], check=True, capture_output=True
    )
    return certificate, key


@pytest.fixture
def read_only(pair: tuple[Path, Path]) -> Iterator[StandIn]:
    server = StandIn(*pair)
    yield server
    server.close()


def test_a_server_to_read_only_gets_nothing_written(
    user: CommandLine, read_only: StandIn, tmp_path: Path
) -> None:
    address = f"grpcs://127.0.0.1:{read_only.port}"
    status, proofs = user.check(address, f"--ca-certs-path={tmp_path}/certificate.pem")
    assert (status, list(proofs)) == (0, ["reachable", "token", "capabilities", "instance"])
    assert proofs["capabilities"]["detail"] == "REAPI 2.0 to 2.1, for this client to read only"
    assert read_only.methods == ["GetCapabilities", "FindMissingBlobs"]


def test_a_certificate_of_an_unknown_authority_is_refused(
    user: CommandLine, read_only: StandIn
) -> None:
    status, proofs = user.check(f"grpcs://127.0.0.1:{read_only.port}")
    assert status == 1
    assert proofs["capabilities"]["detail"].startswith("UNAVAILABLE: ")
    assert read_only.methods == []


class WithoutStatus(StandIn):
    """A server that takes and gives blobs, but whose batches have no `status` in their items."""

    def __init__(self, certificate: Path, key: Path) -> None:
        super().__init__(certificate, key)
        self._blobs: list[bytes] = []
        self._answers |= {"BatchUpdateBlobs": self._update, "BatchReadBlobs": self._read}

    def _capabilities(self, _: bytes) -> re_pb2.ServerCapabilities:
        answer = super()._capabilities(_)
        answer.cache_capabilities.action_cache_update_capabilities.update_enabled = True
        return answer

    def _update(self, request: bytes) -> re_pb2.BatchUpdateBlobsResponse:
        items = re_pb2.BatchUpdateBlobsRequest.FromString(request).requests
        self._blobs += [item.data for item in items]
        return re_pb2.BatchUpdateBlobsResponse(
            responses=[{"digest": item.digest} for item in items]
        )

    def _read(self, request: bytes) -> re_pb2.BatchReadBlobsResponse:
        digests = re_pb2.BatchReadBlobsRequest.FromString(request).digests
        return re_pb2.BatchReadBlobsResponse(
            responses=[
                {"digest": digest, "data": data}
                for digest, data in zip(digests, self._blobs, strict=True)
            ]
        )


@pytest.fixture
def without_status(pair: tuple[Path, Path]) -> Iterator[WithoutStatus]:
    server = WithoutStatus(*pair)
    yield server
    server.close()


def test_a_batch_without_statuses_fails_with_what_it_does_to_a_current_pants(
    user: CommandLine, without_status: WithoutStatus, tmp_path: Path
) -> None:
    address = f"grpcs://127.0.0.1:{without_status.port}"
    status, proofs = user.check(address, f"--ca-certs-path={tmp_path}/certificate.pem")
    assert status == 1
    assert not proofs["blob"]["ok"]
    assert "`status`" in proofs["blob"]["detail"]
    assert "Pants 2.28" in proofs["blob"]["detail"]
    assert "remote_store_batch_load_enabled" in proofs["blob"]["remedy"]
