"""Digests: from the wire, to the wire, and of contents."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import blake3
import pytest
from hypothesis import given
from hypothesis import strategies as st

from reapi_local.errors import InvalidRequest
from reapi_local.protocol.digest import (
    EMPTY_BLOBS,
    Digest,
    DigestFunction,
    digest_of,
    function_for,
    make_digest,
    parse_digest,
    parse_digest_text,
    parse_digests,
    without_empty,
)

LENGTHS = {
    DigestFunction.SHA256: 64,
    DigestFunction.SHA384: 96,
    DigestFunction.SHA512: 128,
    DigestFunction.BLAKE3: 64,
}
GOOD = "0123456789abcdef" * 4


@dataclass(frozen=True)
class Message:
    """The wire form, but with any size."""

    hash: str
    size_bytes: int


functions = st.sampled_from(DigestFunction)
sizes = st.integers(0, 2**63 - 1)
digests = st.builds(
    lambda function, raw, size: make_digest(function, raw[: LENGTHS[function] // 2], size),
    functions,
    st.binary(min_size=64, max_size=64),
    sizes,
)


@given(digests)
def test_a_digest_survives_the_wire(digest: Digest) -> None:
    message = Message(digest.hash_hex, digest.size_bytes)
    assert parse_digest(message, digest.function) == digest
    assert parse_digests([message] * 2, digest.function) == [digest] * 2
    if digest.function is not DigestFunction.BLAKE3:
        assert parse_digest(message) == digest, "the length tells"
    assert str(digest) == f"{digest.hash_hex}/{digest.size_bytes}"
    assert len(digest.hash_hex) == LENGTHS[digest.function]


@given(digests, digests)
def test_digests_are_equal_only_in_all_their_parts(one: Digest, other: Digest) -> None:
    parts = [(d.function, d.hash_hex, d.size_bytes) for d in (one, other)]
    assert (one == other) == (parts[0] == parts[1])


@given(st.binary(max_size=300))
def test_a_digest_of_bytes_is_that_of_the_hash_function(data: bytes) -> None:
    expected = {
        DigestFunction.SHA256: hashlib.sha256(data).hexdigest(),
        DigestFunction.SHA384: hashlib.sha384(data).hexdigest(),
        DigestFunction.SHA512: hashlib.sha512(data).hexdigest(),
        DigestFunction.BLAKE3: blake3.blake3(data).hexdigest(),
    }
    for function, hash_hex in expected.items():
        digest = digest_of(data, function)
        assert (digest.hash_hex, digest.size_bytes) == (hash_hex, len(data))


@pytest.mark.parametrize(
    "hash_hex",
    [
        "",
        GOOD.upper(),
        GOOD[:-1] + "F",
        GOOD[:-1],
        GOOD[:-2],
        GOOD + "0",
        GOOD + "00",
        " " + GOOD[:-1],
        GOOD[:-1] + " ",
        GOOD + "\n",
        GOOD[:32] + " " + GOOD[32:],
        GOOD[:-1] + "g",
        "0x" + GOOD[:-2],
        GOOD[:-1] + "\u0661",
        "-" + GOOD[1:],
        "é" * 64,
    ],
)
@pytest.mark.parametrize("number", [0, DigestFunction.SHA256, DigestFunction.BLAKE3])
def test_a_hash_in_any_other_form_is_refused(hash_hex: str, number: int) -> None:
    message = Message(hash_hex, 1)
    with pytest.raises(InvalidRequest):
        parse_digest(message, number)
    with pytest.raises(InvalidRequest):
        parse_digests([message], number)
    with pytest.raises(InvalidRequest):
        parse_digests([Message(GOOD, 1), message], number)


@given(st.text(max_size=140))
def test_any_text_is_a_hash_or_refused(text: str) -> None:
    try:
        digest = parse_digest(Message(text, 3))
    except InvalidRequest:
        return
    assert digest.hash_hex == text


@pytest.mark.parametrize("size", [-1, -(2**63), 2**63])
def test_an_impossible_size_is_refused(size: int) -> None:
    with pytest.raises(InvalidRequest, match="size"):
        parse_digest_text(DigestFunction.SHA256, GOOD, size)


def test_a_negative_size_is_refused_within_a_list() -> None:
    with pytest.raises(InvalidRequest, match="size"):
        parse_digests([Message(GOOD, 1), Message(GOOD, -1)])


@pytest.mark.parametrize("number", [2, 3, 4, 7, 8, 10, -1, 1000])
def test_a_function_that_isn_t_offered_is_refused_by_its_number(number: int) -> None:
    with pytest.raises(InvalidRequest, match="SHA256, SHA384, SHA512, BLAKE3"):
        function_for(number, GOOD)


def test_the_length_of_a_hash_tells_the_function_but_never_blake3() -> None:
    assert function_for(0) is DigestFunction.SHA256
    for function, length in LENGTHS.items():
        guessed = function_for(0, "0" * length)
        is_blake3 = function is DigestFunction.BLAKE3
        assert guessed is (DigestFunction.SHA256 if is_blake3 else function)
        assert function_for(function, "") is function


def test_a_list_may_mix_functions_that_lengths_tell_apart() -> None:
    mixed = [digest_of(b"x", f) for f in DigestFunction if f is not DigestFunction.BLAKE3]
    assert parse_digests([Message(d.hash_hex, d.size_bytes) for d in mixed]) == mixed
    assert parse_digests([]) == []


def test_the_empty_blobs_need_no_storing() -> None:
    other = digest_of(b"x")
    assert without_empty([*sorted(EMPTY_BLOBS), other]) == [other]
    assert len(EMPTY_BLOBS) == len(DigestFunction)
