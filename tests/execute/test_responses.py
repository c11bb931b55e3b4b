"""What a client is told when an action brings no result."""

from __future__ import annotations

import logging

import pytest
from google.rpc import error_details_pb2

from reapi_local.errors import (
    ActionTimedOut,
    BadOutput,
    Code,
    InvalidRequest,
    MissingInputs,
    ReapiError,
)
from reapi_local.execute.responses import failed
from reapi_local.proto import remote_execution_pb2 as re_pb2
from reapi_local.protocol.digest import DigestFunction, digest_of
from reapi_local.protocol.resource_name import parse_read_name

GRPC_DEFAULT_LIMIT = 4 * 1024 * 1024


def violations(
    response: re_pb2.ExecuteResponse,
) -> list[error_details_pb2.PreconditionFailure.Violation]:
    (detail,) = response.status.details
    failure = error_details_pb2.PreconditionFailure()
    assert detail.type_url == "type.googleapis.com/google.rpc.PreconditionFailure"
    assert detail.Unpack(failure)
    return list(failure.violations)


@pytest.mark.parametrize("error", [InvalidRequest("so"), BadOutput("so"), ActionTimedOut("so")])
def test_an_errors_code_and_words_are_in_the_status(error: ReapiError) -> None:
    response = failed(error)
    assert (response.status.code, response.status.message) == (int(error.code), "so")
    assert not response.status.details
    assert not response.HasField("result")


def test_missing_blobs_are_named_in_the_form_that_clients_upload_them_for() -> None:
    digests = [digest_of(bytes((n,))) for n in range(5)]
    response = failed(MissingInputs(digests))
    assert response.status.code == Code.FAILED_PRECONDITION
    found = violations(response)
    assert [violation.type for violation in found] == ["MISSING"] * 5
    assert [violation.subject for violation in found] == [
        f"blobs/{digest.hash_hex}/{digest.size_bytes}" for digest in digests
    ]


@pytest.mark.parametrize("function", DigestFunction)
def test_a_missing_blobs_name_is_the_one_that_reads_it(function: DigestFunction) -> None:
    digest = digest_of(b"x", function)
    (violation,) = violations(failed(MissingInputs([digest])))
    assert parse_read_name(violation.subject).digest == digest
    has_function = violation.subject.count("/") == 3
    assert has_function == (function is DigestFunction.BLAKE3)


def test_very_many_missing_blobs_still_fit_a_message() -> None:
    digests = [digest_of(n.to_bytes(4, "big"), DigestFunction.SHA512) for n in range(20_000)]
    response = failed(MissingInputs(digests))
    assert 10_000 <= len(violations(response)) < 20_000
    assert response.ByteSize() < GRPC_DEFAULT_LIMIT


def test_what_nobody_expected_is_told_in_the_log_and_only_there(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with caplog.at_level(logging.ERROR):
        response = failed(RuntimeError("a secret of the server"))
    assert response.status.code == Code.INTERNAL
    assert "secret" not in response.status.message
    reference = response.status.message.split()[-1]
    assert f"({reference})" in caplog.text
    assert "a secret of the server" in caplog.text
