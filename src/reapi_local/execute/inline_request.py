"""Contents of blobs within a result, for clients that want to save a second call."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from reapi_local.context import Context
from reapi_local.proto import remote_execution_pb2 as re_pb2
from reapi_local.protocol.digest import Digest, parse_digest
from reapi_local.protocol.inline_contents import (
    MAX_INLINE_BYTES,
    Place,
    contents_of,
    stderr_of,
    stdout_of,
)
from reapi_local.store.blob_store import BlobStore
from reapi_local.threads import in_thread_if_long

_MAX_MESSAGE_BYTES: Final = 4 * 1024 * 1024
_OPERATION_BYTES: Final = 4096
"""More than an operation takes in addition to the result in it."""

_FIELD_BYTES: Final = 16
"""The most that a content takes in addition to its bytes."""


@dataclass(frozen=True)
class InlineRequest:
    """The contents that a client wants within the result; ``files``: output paths."""

    stdout: bool = False
    stderr: bool = False
    files: frozenset[str] = frozenset()

    async def fill(
        self, context: Context, result: re_pb2.ActionResult, blobs: BlobStore, function: int
    ) -> re_pb2.ActionResult:
        """A copy of the result with the requested contents, as far as they fit. Digests stay.

        If there is nothing to add, it returns ``result`` itself.
        """
        if not (self.stdout or self.stderr or self.files):
            return result
        length = result.ByteSize()
        filled, chosen = await in_thread_if_long(length, self._choose, result, length, function)
        found = await blobs.read_many(context, [digest for digest, _ in chosen])
        await in_thread_if_long(length, _put, chosen, found)
        return filled

    def _choose(
        self, result: re_pb2.ActionResult, length: int, function: int
    ) -> tuple[re_pb2.ActionResult, list[tuple[Digest, Place]]]:
        """A copy of the result, and its places whose contents fit, each with its digest.

        Of a result without such places there is no copy.
        """
        if not self._wanted(result):
            return result, []
        filled = re_pb2.ActionResult()
        filled.CopyFrom(result)
        wanted = self._wanted(filled)
        rest = _MAX_MESSAGE_BYTES - _OPERATION_BYTES - length
        room = min(MAX_INLINE_BYTES, rest - _FIELD_BYTES * len(wanted))
        chosen: list[tuple[Digest, Place]] = []
        for place in wanted:
            size_bytes = place.digest.size_bytes
            if size_bytes <= room:
                chosen.append((parse_digest(place.digest, function), place))
                room -= size_bytes
        return filled, chosen

    def _wanted(self, result: re_pb2.ActionResult) -> list[Place]:
        """The places that the client wants to be filled, and that can be."""
        wanted = []
        if self.stdout:
            wanted.append(stdout_of(result))
        if self.stderr:
            wanted.append(stderr_of(result))
        if self.files:
            wanted += [contents_of(f) for f in result.output_files if f.path in self.files]
        return [place for place in wanted if place.digest.size_bytes > 0 and not place.content]


def _put(chosen: Sequence[tuple[Digest, Place]], contents: Mapping[Digest, bytes]) -> None:
    for digest, place in chosen:
        if digest in contents:
            setattr(place.holder, place.field, contents[digest])


NO_INLINE: Final = InlineRequest()
