"""Contents of blobs that an action result has within itself, beside their digests.

Source: REAPI v2, ``ActionResult.stdout_raw`` and ``stderr_raw``, ``OutputFile.contents``.
"""

from __future__ import annotations

from typing import Final, NamedTuple, TypeAlias

from reapi_local.proto import remote_execution_pb2 as re_pb2
from reapi_local.protocol.digest import Digest, DigestFunction, digest_of, parse_digest

MAX_INLINE_BYTES: Final = 1024 * 1024
"""Limit for all contents in one result: gRPC clients accept messages of 4 MiB by default."""

Holder: TypeAlias = re_pb2.ActionResult | re_pb2.OutputFile


class Place(NamedTuple):
    """Where a content may be: the message, its field, and the field that has its digest."""

    holder: Holder
    field: str
    digest_field: str

    @property
    def content(self) -> bytes:
        content: bytes = getattr(self.holder, self.field)
        return content

    @property
    def digest(self) -> re_pb2.Digest:
        digest: re_pb2.Digest = getattr(self.holder, self.digest_field)
        return digest

    def __str__(self) -> str:
        if isinstance(self.holder, re_pb2.OutputFile):
            return f"the {self.field} of output file {self.holder.path[:300]!r}"
        return self.field


class InlineBlob(NamedTuple):
    """A content with the digest that the result gives it, or else its own."""

    place: Place
    digest: Digest
    data: bytes


def stdout_of(result: re_pb2.ActionResult) -> Place:
    return Place(result, "stdout_raw", "stdout_digest")


def stderr_of(result: re_pb2.ActionResult) -> Place:
    return Place(result, "stderr_raw", "stderr_digest")


def contents_of(file: re_pb2.OutputFile) -> Place:
    return Place(file, "contents", "digest")


def take_inline(result: re_pb2.ActionResult, function: DigestFunction) -> list[InlineBlob]:
    """The contents within a result, which then says no more than what it may say inline.

    A file without a digest gets that of its content. If the contents together are over the limit,
    the result keeps only their digests.

    Raises:
        InvalidRequest: a digest is malformed. Contents are not compared with their digests.
    """
    places = [stdout_of(result), stderr_of(result)]
    places += [contents_of(file) for file in result.output_files if file.contents]
    blobs: list[InlineBlob] = []
    for place in places:
        if data := place.content:
            is_named = place.holder.HasField(place.digest_field)
            digest = parse_digest(place.digest, function) if is_named else digest_of(data, function)
            blobs.append(InlineBlob(place, digest, data))
    is_too_much = sum(len(blob.data) for blob in blobs) > MAX_INLINE_BYTES
    for place, digest, _ in blobs:
        if is_too_much or isinstance(place.holder, re_pb2.OutputFile):
            place.digest.hash, place.digest.size_bytes = digest.hash_hex, digest.size_bytes
        if is_too_much:
            place.holder.ClearField(place.field)
    return blobs
