"""Contents of blobs within a result, for clients that want to save a second call."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, TypeAlias

from reapi_local.context import Context
from reapi_local.proto import remote_execution_pb2 as re_pb2
from reapi_local.protocol.digest import Digest, parse_digest
from reapi_local.store.blob_store import BlobStore

_MAX_BYTES: Final = 1024 * 1024
"""Limit for all contents in one result: gRPC clients accept messages of 4 MiB by default."""

_Target: TypeAlias = re_pb2.ActionResult | re_pb2.OutputFile


@dataclass(frozen=True)
class InlineRequest:
    """The contents that a client wants within the result; ``files``: output paths."""

    stdout: bool = False
    stderr: bool = False
    files: frozenset[str] = frozenset()

    async def fill(
        self, context: Context, result: re_pb2.ActionResult, blobs: BlobStore, function: int
    ) -> re_pb2.ActionResult:
        """A copy of the result with the requested contents, as far as they fit. Digests stay."""
        if not (self.stdout or self.stderr or self.files):
            return result
        filled, room = re_pb2.ActionResult(), _MAX_BYTES
        filled.CopyFrom(result)
        chosen: list[tuple[Digest, _Target, str]] = []
        for message, target, field in self._wanted(filled):
            if message.hash and message.size_bytes <= room:
                chosen.append((parse_digest(message, function), target, field))
                room -= message.size_bytes
        found = await blobs.read_many(context, [digest for digest, _, _ in chosen])
        for digest, target, field in chosen:
            if digest in found:
                setattr(target, field, found[digest])
        return filled

    def _wanted(self, result: re_pb2.ActionResult) -> Iterator[tuple[re_pb2.Digest, _Target, str]]:
        """Each digest to read, and the message and field that its content goes into."""
        if self.stdout:
            yield result.stdout_digest, result, "stdout_raw"
        if self.stderr:
            yield result.stderr_digest, result, "stderr_raw"
        for file in result.output_files:
            if file.path in self.files:
                yield file.digest, file, "contents"


NO_INLINE: Final = InlineRequest()
