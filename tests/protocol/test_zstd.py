"""Any zstd form of a blob gives the blob, however it is cut, and nothing else gives anything."""

from __future__ import annotations

import os

import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from reapi_local.errors import DigestMismatch
from reapi_local.protocol.digest import Digest, digest_of
from reapi_local.protocol.zstd import (
    MAX_PIECE_BYTES,
    MAX_WINDOW_BYTES,
    Decoder,
    decompress,
    new_compressor,
    new_decompressor,
)

MIB = 1024 * 1024
SKIPPABLE = b"\x50\x2a\x4d\x18" + (5).to_bytes(4, "little") + b"hello"
"""A frame without content (RFC 8878, 3.1.2)."""

blobs = st.one_of(
    st.binary(max_size=300),
    st.builds(lambda unit, times: unit * times, st.binary(max_size=50), st.integers(0, 5000)),
)


@st.composite
def compressed(draw: st.DrawFn) -> tuple[bytes, bytes]:
    """A blob, and a zstd form of it: a few frames, each with settings of its own."""
    blob = draw(blobs)
    cuts = sorted(draw(st.lists(st.integers(0, len(blob)), max_size=3)))
    form = b""
    for start, end in zip([0, *cuts], [*cuts, len(blob)], strict=True):
        compressor = zstandard.ZstdCompressor(
            level=draw(st.sampled_from([-5, 1, 3])),
            write_checksum=draw(st.booleans()),
            write_content_size=draw(st.booleans()),
        )
        stream = compressor.compressobj()
        form += draw(st.sampled_from([b"", SKIPPABLE]))
        form += stream.compress(blob[start:end]) + stream.flush()
    return blob, form + draw(st.sampled_from([b"", SKIPPABLE]))


def decoded(digest: Digest, pieces: list[bytes], start: int = 0) -> bytes:
    decoder, blob = Decoder(digest, start), b""
    for piece in pieces:
        decoder.feed(piece)
        while not decoder.needs_data:
            part = decoder.read()
            assert len(part) <= MAX_PIECE_BYTES
            blob += part
    decoder.finish()
    return blob


@given(compressed(), st.data())
def test_any_form_cut_anywhere_gives_the_blob(
    pair: tuple[bytes, bytes], data: st.DataObject
) -> None:
    blob, form = pair
    cuts = sorted(data.draw(st.lists(st.integers(0, len(form)), max_size=8)))
    pieces = [form[a:b] for a, b in zip([0, *cuts], [*cuts, len(form)], strict=True)]
    assert decoded(digest_of(blob), pieces) == blob
    assert decompress(digest_of(blob), form) == blob


@given(compressed())
def test_one_byte_at_a_time_gives_the_blob(pair: tuple[bytes, bytes]) -> None:
    blob, form = pair
    assert decoded(digest_of(blob), [bytes([byte]) for byte in form]) == blob


@given(compressed(), st.data())
def test_the_rest_of_a_blob_comes_in_frames_of_its_own(
    pair: tuple[bytes, bytes], data: st.DataObject
) -> None:
    blob, _ = pair
    start = data.draw(st.integers(0, len(blob)))
    form = new_compressor().compress(blob[start:])
    assert decoded(digest_of(blob), [form], start) == blob[start:]


@given(compressed(), st.data())
def test_a_form_that_is_cut_short_is_refused_or_has_a_shorter_blob(
    pair: tuple[bytes, bytes], data: st.DataObject
) -> None:
    blob, form = pair
    end = data.draw(st.integers(0, len(form)))
    try:
        whole = decompress(digest_of(blob), form[:end])
    except DigestMismatch:
        return
    # Cut between two frames. What follows is a form of the rest.
    assert whole + decompress(digest_of(blob[len(whole) :]), form[end:]) == blob


@given(st.binary(min_size=1, max_size=2000), st.booleans(), st.data())
def test_no_part_of_a_frame_passes_for_the_frame(
    blob: bytes, checksum: bool, data: st.DataObject
) -> None:
    form = zstandard.ZstdCompressor(write_checksum=checksum).compress(blob)
    end = data.draw(st.integers(1, len(form) - 1))
    with pytest.raises(DigestMismatch, match="zstd"):
        decompress(digest_of(blob), form[:end])


@given(compressed(), st.binary(min_size=1, max_size=100).filter(lambda b: b[:1] not in b"\x28\x50"))
def test_what_follows_the_last_frame_is_refused(pair: tuple[bytes, bytes], garbage: bytes) -> None:
    blob, form = pair
    with pytest.raises(DigestMismatch, match="zstd"):
        decompress(digest_of(blob), form + garbage)


@given(st.binary(max_size=200))
def test_bytes_that_are_not_zstd_do_no_worse_than_be_refused(data: bytes) -> None:
    try:
        blob = decompress(digest_of(bytes(100)), data)
    except DigestMismatch:
        return
    assert len(blob) <= 100


@pytest.mark.parametrize("size", [0, 1, 100, 128 * 1024, MIB, 2 * MIB, 3 * MIB + 1])
@pytest.mark.parametrize("more", [1, 130 * 1024, MIB, 100 * MIB])
def test_a_form_of_more_bytes_than_the_digest_says_is_refused_at_the_first_of_them(
    size: int, more: int
) -> None:
    form = new_compressor().compress(bytes(size + more))
    with pytest.raises(DigestMismatch, match=f"at least {size + 1} bytes"):
        decompress(digest_of(bytes(size)), form)


@pytest.mark.parametrize("size", [128 * 1024, 192 * 1024, 256 * 1024, MIB, 3 * MIB - 1])
def test_a_message_that_fills_the_output_leaves_nothing_behind(size: int) -> None:
    blob = os.urandom(100) + bytes(4 * size - 100)
    stream = zstandard.ZstdCompressor(level=1).compressobj()
    decoder = Decoder(digest_of(blob))
    received = 0
    for start in range(0, len(blob), size):
        form = stream.compress(blob[start : start + size])
        decoder.feed(form + stream.flush(zstandard.COMPRESSOBJ_FLUSH_BLOCK))
        while not decoder.needs_data:
            received += len(decoder.read())
        assert received == start + size


def test_a_decompressor_serves_one_blob_after_another() -> None:
    decompressor = new_decompressor()
    for number in range(20):
        blob = bytes([number]) * 1000
        form = new_compressor().compress(blob)
        with pytest.raises(DigestMismatch):
            decompress(digest_of(blob), form[:-1], decompressor)
        assert decompress(digest_of(blob), form, decompressor) == blob


@pytest.mark.parametrize(("log", "fits"), [(23, True), (24, False), (27, False)])
def test_a_window_that_takes_too_much_memory_is_refused(log: int, fits: bool) -> None:
    parameters = zstandard.ZstdCompressionParameters.from_level(1, window_log=log)
    stream = zstandard.ZstdCompressor(compression_params=parameters).compressobj()
    form = stream.compress(b"little") + stream.flush()
    if fits:
        assert 1 << log == MAX_WINDOW_BYTES
        assert decompress(digest_of(b"little"), form) == b"little"
    else:
        with pytest.raises(DigestMismatch, match=f"windows of up to {MAX_WINDOW_BYTES}"):
            decompress(digest_of(b"little"), form)
