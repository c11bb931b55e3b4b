"""Content is what its digest names, or is refused."""

from __future__ import annotations

import re
import tempfile

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reapi_local.errors import DigestMismatch
from reapi_local.protocol.digest import Digest, DigestFunction, digest_of, make_digest
from reapi_local.store.verification import (
    ContentVerifier,
    check,
    check_length,
    is_file_intact,
    is_intact,
    verify,
)

KIB = 1024
functions = st.sampled_from(DigestFunction)
contents = st.binary(max_size=50)
FUNCTIONS = pytest.mark.parametrize("function", DigestFunction)
SIZES = pytest.mark.parametrize("size", [0, 1, 256 * KIB, 256 * KIB + 1, 3 * 1024 * KIB])


def with_size(digest: Digest, size: int) -> Digest:
    """The same hash, announced with another size."""
    return make_digest(digest.function, bytes.fromhex(digest.hash_hex), size)


def verified_in_pieces(digest: Digest, pieces: list[bytes]) -> None:
    verifier = ContentVerifier(digest)
    for piece in pieces:
        verifier.expect(len(piece))
        verifier.update(piece)
    verifier.finish()


@given(contents, functions)
def test_what_a_digest_names_passes(data: bytes, function: DigestFunction) -> None:
    digest = digest_of(data, function)
    check(digest, data)
    assert is_intact(digest, data)


@given(contents, contents, functions)
def test_other_content_is_refused(data: bytes, other: bytes, function: DigestFunction) -> None:
    if data == other:
        return
    digest = digest_of(data, function)
    with pytest.raises(DigestMismatch):
        check(digest, other)
    assert not is_intact(digest, other)


@given(contents, functions, st.integers(0, 100))
def test_the_right_hash_with_a_wrong_size_is_refused(
    data: bytes, function: DigestFunction, size: int
) -> None:
    if size == len(data):
        return
    wrong = with_size(digest_of(data, function), size)
    with pytest.raises(DigestMismatch, match=f"received {len(data)} bytes"):
        check(wrong, data)
    assert not is_intact(wrong, data)


@pytest.mark.parametrize("function", [DigestFunction.SHA256, DigestFunction.BLAKE3])
def test_a_hash_of_another_function_is_refused(function: DigestFunction) -> None:
    (other,) = {DigestFunction.SHA256, DigestFunction.BLAKE3} - {function}
    taken = make_digest(function, bytes.fromhex(digest_of(b"data", other).hash_hex), 4)
    with pytest.raises(DigestMismatch, match=f"have the {function.name} digest"):
        check(taken, b"data")
    assert not is_intact(taken, b"data")


def test_a_refusal_tells_both_digests() -> None:
    announced, came = digest_of(b"this"), digest_of(b"that")
    with pytest.raises(DigestMismatch, match=re.escape(str(announced))) as refused:
        check(announced, b"that")
    assert str(came) in str(refused.value)


def test_a_length_is_refused_only_beyond_the_announced_one() -> None:
    digest = digest_of(b"12345")
    for length in range(6):
        check_length(digest, length)
    with pytest.raises(DigestMismatch, match="received at least 6 bytes, but the digest says 5"):
        check_length(digest, 6)


@FUNCTIONS
@SIZES
async def test_long_and_short_content_is_verified_alike(
    size: int, function: DigestFunction
) -> None:
    digest, data = digest_of(bytes(size), function), bytes(size)
    await verify(digest, data)
    with pytest.raises(DigestMismatch):
        await verify(digest, data[:-1] + b"x")


@given(st.lists(contents, max_size=5), functions)
def test_content_in_pieces_is_verified_as_one(
    pieces: list[bytes], function: DigestFunction
) -> None:
    whole = b"".join(pieces)
    verified_in_pieces(digest_of(whole, function), pieces)
    with pytest.raises(DigestMismatch):
        verified_in_pieces(digest_of(whole + b"x", function), pieces)


def test_a_piece_too_many_is_refused_before_it_is_hashed() -> None:
    verifier = ContentVerifier(digest_of(b"abc"))
    verifier.expect(2)
    verifier.update(b"ab")
    with pytest.raises(DigestMismatch, match="received at least 4 bytes, but the digest says 3"):
        verifier.expect(2)
    verifier.expect(1)
    verifier.update(b"c")
    verifier.finish()


@FUNCTIONS
@SIZES
def test_a_file_is_intact_when_it_has_exactly_the_bytes(
    size: int, function: DigestFunction
) -> None:
    data = bytes(size)
    with tempfile.TemporaryFile() as file:
        file.write(data)
        file.flush()
        assert is_file_intact(digest_of(data, function), file.fileno())
        assert not is_file_intact(with_size(digest_of(data, function), size + 1), file.fileno())
        file.write(b"x")
        file.flush()
        assert not is_file_intact(digest_of(data, function), file.fileno())
