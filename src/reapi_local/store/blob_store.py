"""The contract of blob stores.

Every call has the context of the gRPC call that it serves. A blob that a store says it holds stays
readable until the lease of that context's invocation ends.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Protocol

from reapi_contract.admin_api import StoreStatus
from reapi_local.context import Context
from reapi_local.errors import ReapiError
from reapi_local.protocol.digest import Digest

Blob = tuple[Digest, bytes]


class BlobReader(Protocol):
    """Reads one blob, or a range of it, from start to end."""

    async def read(self, max_bytes: int) -> bytes:
        """The next bytes, at most ``max_bytes``; b"" only at the end."""


class BlobWriter(Protocol):
    """Writes one blob, which is not visible before :meth:`commit`."""

    async def write(self, chunk: bytes) -> None:
        """Add the next bytes.

        Raises:
            DigestMismatch: more bytes than the digest says.
            StorageFull: no space.
        """

    async def commit(self) -> None:
        """Verify the content and make the blob visible; durable when this returns.

        Raises:
            DigestMismatch: the bytes don't have the digest; nothing was stored.
            StorageFull: no space; nothing was stored.
        """

    async def discard(self) -> None:
        """Drop the bytes received so far. A no-op after a commit."""


class BlobStore(Protocol):
    """Blobs by digest. A blob never changes; the empty blob is always there."""

    async def find_missing(self, context: Context, digests: Sequence[Digest]) -> list[Digest]:
        """The missing digests, in the order given; the others are now leased to the invocation."""

    async def read_many(
        self, context: Context, digests: Sequence[Digest]
    ) -> Mapping[Digest, bytes]:
        """The contents of the blobs that are held, which are now leased to the invocation."""

    async def write_many(
        self, context: Context, blobs: Sequence[Blob]
    ) -> Mapping[Digest, ReapiError]:
        """Verify and store blobs; they are durable when this returns.

        Returns the blobs that were not stored, each with its error: DigestMismatch or StorageFull.
        """

    def open_read(
        self, context: Context, digest: Digest, offset: int = 0, limit: int = 0
    ) -> AbstractAsyncContextManager[BlobReader]:
        """Read one blob from ``offset``, at most ``limit`` bytes (0 = all).

        Raises (on entering):
            BlobNotFound: the blob is missing or corrupt.
            OffsetOutOfRange: ``offset`` is beyond the end.
        """

    async def open_write(self, context: Context, digest: Digest) -> BlobWriter:
        """Start to write a blob; end it with ``commit`` or ``discard``.

        Raises:
            StorageFull: no space.
        """

    def describe(self) -> StoreStatus:
        """How much the store holds, and its limit."""
