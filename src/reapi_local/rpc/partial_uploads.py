"""Partial uploads, which are kept for a while so that clients can resume them."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from dataclasses import dataclass
from typing import Final

from reapi_local.clock import Clock, Timer
from reapi_local.errors import InvalidRequest
from reapi_local.protocol.resource_name import UploadName
from reapi_local.store.blob_store import BlobWriter

_MAX_UPLOADS: Final = 64
_KEEP_SECONDS: Final = 600.0


@dataclass(frozen=True)
class _Upload:
    writer: BlobWriter
    offset: int
    expiry: Timer


class PartialUploads:
    """Keeps few uploads, and only for some minutes, because they reserve space in the store."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._uploads: OrderedDict[UploadName, _Upload] = OrderedDict()
        self._dropping: set[asyncio.Task[None]] = set()

    def offset(self, name: UploadName) -> int | None:
        """How many bytes were kept; None if nothing is kept."""
        upload = self._uploads.get(name)
        return upload.offset if upload else None

    async def committed(self, name: UploadName, write_offset: int) -> int:
        """Return ``write_offset`` if a call may start there. At 0, the kept bytes are dropped.

        Raises:
            InvalidRequest: another number of bytes was kept.
        """
        kept = self.offset(name) or 0
        if write_offset == kept:
            return kept
        if write_offset == 0:
            await self._drop(name)
            return 0
        raise InvalidRequest(
            f"upload of {name.digest}: write_offset {write_offset}, but {kept} bytes are "
            f"committed; resume at {kept} or begin again at 0"
        )

    def take(self, name: UploadName) -> BlobWriter | None:
        """Take over the writer that was kept. The caller commits or discards it."""
        upload = self._uploads.pop(name, None)
        if upload is None:
            return None
        upload.expiry.cancel()
        return upload.writer

    async def keep(self, name: UploadName, writer: BlobWriter, offset: int) -> None:
        """Keep a writer that has received ``offset`` bytes."""
        expiry = self._clock.call_later(_KEEP_SECONDS, lambda: self._expire(name))
        self._uploads[name] = _Upload(writer, offset, expiry)
        if len(self._uploads) > _MAX_UPLOADS:
            await self._drop(next(iter(self._uploads)))

    async def close(self) -> None:
        """Drop all uploads."""
        for name in list(self._uploads):
            await self._drop(name)
        if self._dropping:
            await asyncio.wait(self._dropping)

    def _expire(self, name: UploadName) -> None:
        task = asyncio.get_running_loop().create_task(self._drop(name))
        self._dropping.add(task)
        task.add_done_callback(self._dropping.discard)

    async def _drop(self, name: UploadName) -> None:
        writer = self.take(name)
        if writer is not None:
            await writer.discard()
