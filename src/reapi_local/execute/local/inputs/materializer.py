"""From the store into drafts: small files in batches, large ones in pieces."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Final

from reapi_local.context import Context
from reapi_local.errors import BlobNotFound, MissingInputs
from reapi_local.execute.local.inputs.layer_plan import LayerPlan
from reapi_local.execute.local.inputs.layer_writer import LayerWriter
from reapi_local.execute.local.inputs.parsed_directory import HEAVY_BYTES, File
from reapi_local.protocol.digest import Digest, without_empty
from reapi_local.store.blob_store import BlobStore
from reapi_local.store.disk_errors import disk_errors
from reapi_local.threads import in_thread

_CHUNK_BYTES: Final = 1024 * 1024
_BATCH_SIZE: Final = 256
_BATCH_BYTES: Final = 1024 * 1024

_Place = tuple[LayerWriter, bytes, File]
"""A file to be written, and the draft and directory it is written to."""


class Materializer:
    """Fills drafts with blobs of a store, which are leased to the run."""

    def __init__(self, context: Context, blobs: BlobStore) -> None:
        self._blobs, self._context = blobs, context

    async def check(self, plans: Sequence[LayerPlan]) -> None:
        """Raise MissingInputs with every blob that layers need and the store doesn't hold."""
        needed = dict.fromkeys(file.digest for plan in plans for _, file in plan.files())
        missing = await self._blobs.find_missing(self._context, without_empty(needed))
        if missing:
            raise MissingInputs(missing)

    async def fill(self, drafts: Sequence[LayerWriter]) -> None:
        """Write all that the drafts are to hold, which completes them.

        Raises:
            MissingInputs: a blob isn't there any more.
            StorageFull: no room.
        """
        places = [(draft, path, file) for draft in drafts for path, file in draft.plan.files()]
        light = [place for place in places if not _is_heavy(place)]
        fresh = drafts
        # Begun with the first batch: another thread's start takes as long as writing ten files.
        for batch in list(_batches(light)) or [[]]:
            await in_thread(_write, fresh, batch, await self._read(batch))
            fresh = ()
        for draft, path, file in filter(_is_heavy, places):
            await self._stream(draft, path, file)

    async def _read(self, batch: Sequence[_Place]) -> Mapping[Digest, bytes]:
        digests = dict.fromkeys(file.digest for _, _, file in batch)
        contents = await self._blobs.read_many(self._context, list(digests))
        missing = [digest for digest in digests if digest not in contents]
        if missing:
            raise MissingInputs(missing)
        return contents

    async def _stream(self, draft: LayerWriter, path: bytes, file: File) -> None:
        try:
            async with self._blobs.open_read(self._context, file.digest) as reader:
                with disk_errors():
                    fd = await in_thread(draft.create, path, file)
                    try:
                        while chunk := await reader.read(_CHUNK_BYTES):
                            await in_thread(_write_all, fd, chunk)
                        await in_thread(draft.seal, fd, file)
                    finally:
                        os.close(fd)
        except BlobNotFound:
            raise MissingInputs((file.digest,)) from None


def _batches(places: Iterable[_Place]) -> Iterator[list[_Place]]:
    """As much as may be in memory at once, and may keep the event loop from others."""
    batch: list[_Place] = []
    size = 0
    for place in places:
        if len(batch) == _BATCH_SIZE or (batch and size + _size(place) > _BATCH_BYTES):
            yield batch
            batch, size = [], 0
        batch.append(place)
        size += _size(place)
    if batch:
        yield batch


def _write(
    fresh: Sequence[LayerWriter], batch: Sequence[_Place], contents: Mapping[Digest, bytes]
) -> None:
    with disk_errors():
        for draft in fresh:
            draft.begin()
        for draft, path, file in batch:
            fd = draft.create(path, file)
            try:
                _write_all(fd, contents[file.digest])
                draft.seal(fd, file)
            finally:
                os.close(fd)


def _write_all(fd: int, data: bytes) -> None:
    written = os.write(fd, data)
    while written < len(data):
        written += os.write(fd, data[written:])


def _is_heavy(place: _Place) -> bool:
    return _size(place) > HEAVY_BYTES


def _size(place: _Place) -> int:
    return place[2].digest.size_bytes
