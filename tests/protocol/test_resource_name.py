"""ByteStream resource names and instance names: every form, and what is no form."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reapi_local.errors import InvalidRequest
from reapi_local.protocol.digest import Digest, DigestFunction, digest_of
from reapi_local.protocol.instance import MAX_NAME_BYTES, RESERVED_SEGMENTS, check_instance_name
from reapi_local.protocol.resource_name import (
    ReadName,
    UploadName,
    instance_of_resource,
    parse_read_name,
    parse_write_name,
)

HASH = digest_of(b"x").hash_hex
INSTANCES = ["", "main", "a/b/c", "ünï cödé", "blob", "uploads-2", "sha256", "a" * MAX_NAME_BYTES]
REST = ["", "/name.txt", "/some/path/blobs/x", "/", "/metadata/x"]

segments = st.text(
    st.characters(categories=["L", "N", "P"], exclude_characters="/"), min_size=1, max_size=12
).filter(lambda text: text not in RESERVED_SEGMENTS)
instances = st.lists(segments, max_size=4).map("/".join)


def prefixed(instance: str, rest: str) -> str:
    return f"{instance}/{rest}" if instance else rest


BLOBS = [
    (f"blobs/{f.name.lower()}/{digest_of(b'x', f)}", digest_of(b"x", f)) for f in DigestFunction
]
# Without its name BLAKE3 would be taken for SHA-256: their hashes are equally long.
BLOBS += [(f"blobs/{digest}", digest) for _, digest in BLOBS[:-1]]


@pytest.mark.parametrize(("blob", "digest"), BLOBS)
@pytest.mark.parametrize("instance", INSTANCES)
@pytest.mark.parametrize("slash", ["", "/"])
def test_every_form_is_understood(blob: str, digest: Digest, instance: str, slash: str) -> None:
    for is_compressed in (False, True):
        form = f"compressed-blobs/zstd/{blob.removeprefix('blobs/')}" if is_compressed else blob
        read = slash + prefixed(instance, form)
        assert parse_read_name(read) == ReadName(instance, digest, is_compressed)
        for rest in REST:
            write = slash + prefixed(instance, f"uploads/1234-abcd/{form}{rest}")
            expected = UploadName(instance, "1234-abcd", digest, is_compressed)
            assert parse_write_name(write) == expected


@given(instances, segments)
def test_any_instance_and_upload_name_come_back(instance: str, upload: str) -> None:
    digest = digest_of(b"content")
    assert parse_read_name(prefixed(instance, f"blobs/{digest}")).instance == instance
    name = parse_write_name(prefixed(instance, f"uploads/{upload}/blobs/{digest}"))
    assert (name.instance, name.upload) == (instance, upload)


@pytest.mark.parametrize("slash", ["", "/"])
@given(instance=instances, upload=segments)
def test_the_instance_is_known_before_the_rest_is_looked_at(
    slash: str, instance: str, upload: str
) -> None:
    for rest in ("blobs/not a digest", f"uploads/{upload}", "compressed-blobs/zstd"):
        assert instance_of_resource(slash + prefixed(instance, rest)) == instance


@pytest.mark.parametrize("name", ["", "main", "blob/x", "/a/b"])
def test_a_name_of_no_resource_has_no_instance(name: str) -> None:
    with pytest.raises(InvalidRequest, match="neither blobs/ nor uploads/"):
        instance_of_resource(name)


@pytest.mark.parametrize(
    "name",
    [
        "",
        "/",
        "blobs",
        "blobs/",
        f"blobs/{HASH}",
        f"blobs/{HASH}/",
        f"blobs/{HASH}/x",
        f"blobs/{HASH}/-1",
        f"blobs/{HASH}/+1",
        f"blobs/{HASH}/1_0",
        f"blobs/{HASH}/ 1",
        f"blobs/{HASH}/١",
        f"blobs/{HASH}/{2**63}",
        f"blobs/{HASH}/{'9' * 5000}",
        f"blobs/{HASH.upper()}/1",
        f"blobs/{HASH[:-1]}/1",
        f"blobs//{HASH}/1",
        f"blobs/SHA256/{HASH}/1",
        f"blobs/md5/{HASH}/1",
        f"blobs/sha512/{HASH}/1",
        f"blobs/{HASH}/1/more",
        f"{HASH}/1",
        f"a//blobs/{HASH}/1",
        f"///blobs/{HASH}/1",
        f"actions/blobs/{HASH}/1",
        f"operations/x/blobs/{HASH}/1",
        f"a\0b/blobs/{HASH}/1",
        f"{'a' * 256}/blobs/{HASH}/1",
        f"compressed-blobs/deflate/{HASH}/1",
        f"main/compressed-blobs/ZSTD/{HASH}/1",
        f"compressed-blobs/{HASH}/1",
        f"compressed-blobs/zstd/zstd/{HASH}/1",
        f"blobs/zstd/{HASH}/1",
        "compressed-blobs/zstd",
        f"compressed-blobs/zstd/{HASH}",
        f"uploads/u/blobs/{HASH}/1",
    ],
)
def test_any_other_read_name_is_refused(name: str) -> None:
    with pytest.raises(InvalidRequest):
        parse_read_name(name)


@pytest.mark.parametrize(
    "name",
    [
        f"blobs/{HASH}/1",
        f"uploads/blobs/{HASH}/1",
        f"uploads//blobs/{HASH}/1",
        "uploads/u",
        "uploads/u/blobs",
        f"uploads/u/x/blobs/{HASH}/1",
        f"uploads/u/v/blobs/{HASH}/1",
        f"uploads/u/blobs/{HASH}",
        f"uploads/u/compressed-blobs/brotli/{HASH}/1",
        f"uploads/u/compressed-blobs/{HASH}/1",
        f"compressed-blobs/zstd/{HASH}/1",
    ],
)
def test_any_other_write_name_is_refused(name: str) -> None:
    with pytest.raises(InvalidRequest):
        parse_write_name(name)


@given(st.text(max_size=60))
def test_no_text_does_worse_than_be_refused(text: str) -> None:
    for name in (text, f"{text}/blobs/{HASH}/1", f"uploads/{text}/blobs/{HASH}/1"):
        for parse in (parse_read_name, parse_write_name):
            try:
                assert parse(name).digest.hash_hex in name
            except InvalidRequest:
                continue


@pytest.mark.parametrize("name", ["a", "a/b", "ä" * 127, "x y", "..", "blobs2"])
def test_instance_names_may_be_nearly_anything(name: str) -> None:
    assert check_instance_name(name) == name


@pytest.mark.parametrize("name", ["/", "a/", "/a", "a//b", "a\nb", "\x00", "ä" * 128, "a" * 256])
def test_instance_names_that_can_t_be_kept_are_refused(name: str) -> None:
    with pytest.raises(InvalidRequest):
        check_instance_name(name)


@pytest.mark.parametrize("word", sorted(RESERVED_SEGMENTS))
def test_reserved_words_are_refused_wherever_they_stand(word: str) -> None:
    for name in (word, f"a/{word}", f"{word}/a"):
        with pytest.raises(InvalidRequest, match="reserves"):
            check_instance_name(name)
