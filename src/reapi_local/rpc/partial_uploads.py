"""Uploads that broke off, kept for a while so that their clients can resume them."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from dataclasses import dataclass
from typing import Final

from reapi_local.errors import InvalidRequest
from reapi_local.protocol.resource_name import UploadName
from reapi_local.store.types import BlobWriter

_MAX_ENTRIES: Final = 64
_SECONDS: Final = 600.0


@dataclass(frozen=True)
class _Upload:
    writer: BlobWriter
    offset: int
    expiry: asyncio.Task[None]


class PartialUploads:
    """The latest 64, each for ten minutes and no longer: they hold room in the store."""

    def __init__(self, seconds: float = _SECONDS) -> None:
        self._seconds = seconds
        self._uploads: OrderedDict[UploadName, _Upload] = OrderedDict()

    def offset(self, name: UploadName) -> int | None:
        """How many bytes were kept; None when nothing was."""
        upload = self._uploads.get(name)
        return upload.offset if upload else None

    async def committed(self, name: UploadName, write_offset: int) -> int:
        """Where a call that starts at ``write_offset`` goes on: there, or at 0.

        Starting at 0 drops what was kept.

        Raises:
            InvalidRequest: so many bytes were not kept.
        """
        kept = self.offset(name) or 0
        if write_offset == kept:
            return kept
        if write_offset == 0:
            await self._drop(name)
            return 0
        raise InvalidRequest(
            f"upload of {name.digest}: write_offset {write_offset}, but {kept} bytes are "
            f"committed; go on at {kept} or begin again at 0"
        )

    def take(self, name: UploadName) -> BlobWriter | None:
        """The writer kept, which the caller now has to end."""
        upload = self._uploads.pop(name, None)
        if upload is None:
            return None
        upload.expiry.cancel()
        return upload.writer

    async def keep(self, name: UploadName, writer: BlobWriter, offset: int) -> None:
        """Keep a writer that has ``offset`` bytes."""
        self._uploads[name] = _Upload(writer, offset, asyncio.create_task(self._expire(name)))
        if len(self._uploads) > _MAX_ENTRIES:
            await self._drop(next(iter(self._uploads)))

    async def close(self) -> None:
        """Drop them all."""
        for name in list(self._uploads):
            await self._drop(name)

    async def _expire(self, name: UploadName) -> None:
        await asyncio.sleep(self._seconds)
        await self._uploads.pop(name).writer.discard()

    async def _drop(self, name: UploadName) -> None:
        writer = self.take(name)
        if writer is not None:
            await writer.discard()
