"""Writes blobs of the store into new layers: small files in batches, large files in chunks."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Final

from reapi_local.context import Context
from reapi_local.errors import BlobNotFound, MissingInputs
from reapi_local.execute.local.inputs.layer_plan import LayerPlan
from reapi_local.execute.local.inputs.layer_writer import LayerWriter
from reapi_local.execute.local.inputs.parsed_directory import LARGE_FILE_BYTES, File
from reapi_local.protocol.digest import Digest, without_empty
from reapi_local.store.blob_store import BlobStore
from reapi_local.store.disk_errors import disk_errors
from reapi_local.threads import in_thread

_CHUNK_BYTES: Final = 1024 * 1024
_MAX_BATCH_FILES: Final = 256
_MAX_BATCH_BYTES: Final = 1024 * 1024

_PlannedFile = tuple[LayerWriter, bytes, File]
"""A file to write, the writer of its layer and the path of its directory."""


class Materializer:
    """Fills layers with blobs of ``blobs``, which are leased to the invocation."""

    def __init__(self, context: Context, blobs: BlobStore) -> None:
        self._blobs, self._context = blobs, context

    async def check(self, plans: Sequence[LayerPlan]) -> None:
        """Raise MissingInputs with every blob that the layers need and the store doesn't have."""
        needed = dict.fromkeys(file.digest for plan in plans for _, file in plan.files())
        missing = await self._blobs.find_missing(self._context, without_empty(needed))
        if missing:
            raise MissingInputs(missing)

    async def write(self, writers: Sequence[LayerWriter]) -> None:
        """Write the whole content of these layers, which completes them.

        Raises:
            MissingInputs: the store has lost a blob since :meth:`check`.
            StorageFull: the disk is full.
        """
        files = [(writer, path, file) for writer in writers for path, file in writer.plan.files()]
        small = [planned for planned in files if not _is_large(planned)]
        not_begun = writers
        # Layers are begun in the thread of the first batch: to start another thread takes as long
        # as to write ten files.
        for batch in list(_batches(small)) or [[]]:
            await in_thread(_write_batch, not_begun, batch, await self._read(batch))
            not_begun = ()
        for writer, path, file in filter(_is_large, files):
            await self._stream(writer, path, file)

    async def _read(self, batch: Sequence[_PlannedFile]) -> Mapping[Digest, bytes]:
        digests = dict.fromkeys(file.digest for _, _, file in batch)
        contents = await self._blobs.read_many(self._context, list(digests))
        missing = [digest for digest in digests if digest not in contents]
        if missing:
            raise MissingInputs(missing)
        return contents

    async def _stream(self, writer: LayerWriter, path: bytes, file: File) -> None:
        try:
            async with self._blobs.open_read(self._context, file.digest) as reader:
                with disk_errors():
                    fd = await in_thread(writer.create, path, file)
                    try:
                        while chunk := await reader.read(_CHUNK_BYTES):
                            await in_thread(_write_all, fd, chunk)
                        await in_thread(writer.seal, fd, file)
                    finally:
                        os.close(fd)
        except BlobNotFound:
            raise MissingInputs((file.digest,)) from None


def _batches(files: Iterable[_PlannedFile]) -> Iterator[list[_PlannedFile]]:
    """Batches that are small enough to be in memory and to be read without blocking others."""
    batch: list[_PlannedFile] = []
    batch_bytes = 0
    for planned in files:
        size = _size_bytes(planned)
        if len(batch) == _MAX_BATCH_FILES or (batch and batch_bytes + size > _MAX_BATCH_BYTES):
            yield batch
            batch, batch_bytes = [], 0
        batch.append(planned)
        batch_bytes += size
    if batch:
        yield batch


def _write_batch(
    not_begun: Sequence[LayerWriter],
    batch: Sequence[_PlannedFile],
    contents: Mapping[Digest, bytes],
) -> None:
    with disk_errors():
        for writer in not_begun:
            writer.begin()
        for writer, path, file in batch:
            fd = writer.create(path, file)
            try:
                _write_all(fd, contents[file.digest])
                writer.seal(fd, file)
            finally:
                os.close(fd)


def _write_all(fd: int, data: bytes) -> None:
    written = os.write(fd, data)
    while written < len(data):
        written += os.write(fd, data[written:])


def _is_large(planned: _PlannedFile) -> bool:
    return _size_bytes(planned) > LARGE_FILE_BYTES


def _size_bytes(planned: _PlannedFile) -> int:
    return planned[2].digest.size_bytes
