"""A writer that takes room in the store only when the first bytes of its blob are there."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from reapi_local.store.blob_store import BlobWriter


class LateWriter:
    """A :class:`~reapi_local.store.blob_store.BlobWriter` that opens the real one when it has to.

    The real one reserves as much as the digest says and may evict other blobs for it, which a name
    alone must not do.
    """

    def __init__(self, open_write: Callable[[], Awaitable[BlobWriter]]) -> None:
        self._open_write = open_write
        self._writer: BlobWriter | None = None

    async def write(self, chunk: bytes) -> None:
        """Add the next bytes; opens the writer before the first ones. Raises what both raise."""
        if self._writer is None:
            if not chunk:
                return
            self._writer = await self._open_write()
        await self._writer.write(chunk)

    async def commit(self) -> None:
        """As the real one, which then doesn't have a byte if none was written."""
        if self._writer is None:
            self._writer = await self._open_write()
        await self._writer.commit()

    async def discard(self) -> None:
        """Drop the bytes received so far."""
        if self._writer is not None:
            await self._writer.discard()
