"""The contract of blob stores: what a service may ask of any of them.

Every call says in whose context it is made. What a store tells an invocation is there stays
readable until the lease of that invocation ends.
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
    """One blob, or the part of it that was asked for, from its start to its end."""

    async def read(self, max_bytes: int) -> bytes:
        """The next bytes, at most ``max_bytes``; b"" at the end."""


class BlobWriter(Protocol):
    """A blob that is coming in. Nobody sees it before :meth:`commit`."""

    async def write(self, chunk: bytes) -> None:
        """Take the next bytes.

        Raises:
            DigestMismatch: more bytes than the digest announces.
            StorageFull: no room.
        """

    async def commit(self) -> None:
        """Verify the content and make the blob visible; durable when this returns.

        Raises:
            DigestMismatch: the bytes don't have the announced digest; nothing was kept.
            StorageFull: no room; nothing was kept.
        """

    async def discard(self) -> None:
        """Drop what came so far. A no-op after a commit."""


class BlobStore(Protocol):
    """Blobs by digest. A blob never changes; the empty blob is always there."""

    async def find_missing(self, context: Context, digests: Sequence[Digest]) -> list[Digest]:
        """Those not held, in the order asked; the others are now leased to the invocation."""

    async def read_many(
        self, context: Context, digests: Sequence[Digest]
    ) -> Mapping[Digest, bytes]:
        """Contents of those held (absent = not held), now leased to the invocation."""

    async def write_many(
        self, context: Context, blobs: Sequence[Blob]
    ) -> Mapping[Digest, ReapiError]:
        """Verify and store contents; those stored are durable when this returns.

        Returns those that were not stored, each with the reason: DigestMismatch or StorageFull.
        """

    def open_read(
        self, context: Context, digest: Digest, offset: int = 0, limit: int = 0
    ) -> AbstractAsyncContextManager[BlobReader]:
        """Read one blob from ``offset``, at most ``limit`` bytes (0 = all).

        Raises (on entering):
            BlobNotFound: not held, or held corrupt.
            OffsetOutOfRange: ``offset`` is beyond the end.
        """

    async def open_write(self, context: Context, digest: Digest) -> BlobWriter:
        """Begin a blob; end it with ``commit`` or ``discard``.

        Raises:
            StorageFull: no room.
        """

    def describe(self) -> StoreStatus:
        """How much it holds, and may hold."""
