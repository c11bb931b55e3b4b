"""The messages of one upload: any split is accepted, no step back and no gap."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from reapi_local.errors import DigestMismatch, InvalidRequest
from reapi_local.protocol.digest import digest_of
from reapi_local.protocol.resource_name import parse_write_name
from reapi_local.protocol.upload import WriteSequence

SIZE = 1000
NAME = f"main/uploads/u/blobs/{digest_of(bytes(SIZE))}"

splits = st.lists(st.integers(0, SIZE), max_size=12).map(lambda cuts: [0, *sorted(cuts), SIZE])


def sequence(committed: int = 0) -> WriteSequence:
    return WriteSequence(NAME, parse_write_name(NAME), committed)


def lengths(cuts: list[int]) -> list[tuple[int, int]]:
    """Offset and length of each message."""
    return [(start, end - start) for start, end in pairwise(cuts)]


@given(splits, st.booleans(), st.booleans())
def test_any_split_into_messages_is_accepted(
    cuts: list[int], name_repeated: bool, finished_apart: bool
) -> None:
    messages = lengths(cuts)
    upload = sequence()
    for number, (offset, length) in enumerate(messages):
        name = NAME if name_repeated or number == 0 else ""
        last = number == len(messages) - 1
        upload.accept(name, offset, length, finish_write=last and not finished_apart)
    if finished_apart:
        upload.accept("", SIZE, 0, finish_write=True)
    upload.end()
    assert upload.finished
    assert upload.offset == SIZE


@given(splits, st.integers(0, SIZE))
def test_an_upload_goes_on_where_it_broke_off(cuts: list[int], committed: int) -> None:
    upload = sequence(committed)
    for offset, length in lengths([committed, *(cut for cut in cuts if cut > committed)]):
        upload.accept("", offset, length, finish_write=False)
    upload.accept("", SIZE, 0, finish_write=True)
    upload.end()


@given(splits, st.data())
def test_a_gap_or_a_step_back_is_refused(cuts: list[int], data: st.DataObject) -> None:
    messages = lengths(cuts)
    wrong = data.draw(st.integers(0, len(messages) - 1))
    offset = data.draw(st.integers(-5, SIZE + 5))
    assume(offset != messages[wrong][0])
    upload = sequence()
    for right in messages[:wrong]:
        upload.accept("", *right, finish_write=False)
    with pytest.raises(InvalidRequest, match="write_offset"):
        upload.accept("", offset, messages[wrong][1], finish_write=False)
    assert not upload.finished


def test_another_name_in_a_later_message_is_refused() -> None:
    upload = sequence()
    upload.accept(NAME, 0, 10, finish_write=False)
    with pytest.raises(InvalidRequest, match="one call writes one resource"):
        upload.accept(NAME + "/other", 10, 10, finish_write=False)


@pytest.mark.parametrize("length", [0, 1])
def test_nothing_may_come_after_the_end(length: int) -> None:
    upload = sequence()
    upload.accept(NAME, 0, SIZE, finish_write=True)
    with pytest.raises(InvalidRequest, match="after finish_write"):
        upload.accept("", SIZE, length, finish_write=False)


def test_more_bytes_than_announced_are_refused_as_they_come() -> None:
    upload = sequence()
    upload.accept(NAME, 0, SIZE, finish_write=False)
    with pytest.raises(DigestMismatch, match="the digest says 1000"):
        upload.accept("", SIZE, 1, finish_write=False)


def test_fewer_bytes_than_announced_are_refused_at_the_end() -> None:
    upload = sequence()
    with pytest.raises(DigestMismatch, match="the digest says 1000"):
        upload.accept(NAME, 0, SIZE - 1, finish_write=True)
    assert not upload.finished


def test_a_call_that_ends_with_all_bytes_is_finished_without_finish_write() -> None:
    upload = sequence()
    upload.accept(NAME, 0, SIZE, finish_write=False)
    upload.end()
    assert upload.finished


def test_a_call_that_ends_before_its_last_byte_is_no_upload() -> None:
    upload = sequence()
    upload.accept(NAME, 0, SIZE - 1, finish_write=False)
    with pytest.raises(InvalidRequest, match="resume at write_offset 999"):
        upload.end()
    assert not upload.finished
