"""The contracts of storage: what a service may ask of any store.

A *run* is the client's invocation id ("" where it sends none). What a store tells a run is there
stays readable until that run's lease ends.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Protocol

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
        """Drop what came so far. Does nothing after a commit."""


class BlobStore(Protocol):
    """Blobs by digest. A blob never changes; the empty blob is always there."""

    async def find_missing(self, digests: Sequence[Digest], run: str = "") -> list[Digest]:
        """Those not held, in the order asked; the others are now leased to the run."""

    async def read_many(self, digests: Sequence[Digest], run: str = "") -> Mapping[Digest, bytes]:
        """Contents of those held (absent = not held), now leased to the run."""

    async def write_many(self, blobs: Sequence[Blob], run: str = "") -> Mapping[Digest, ReapiError]:
        """Verify and store contents; those stored are durable when this returns.

        Returns those that were not stored, each with the reason: DigestMismatch or StorageFull.
        """

    def open_read(
        self, digest: Digest, run: str = "", offset: int = 0, limit: int = 0
    ) -> AbstractAsyncContextManager[BlobReader]:
        """Read one blob from ``offset``, at most ``limit`` bytes (0 = all).

        Raises (on entering):
            BlobNotFound: not held, or held damaged.
            OffsetOutOfRange: ``offset`` is beyond the end.
        """

    async def open_write(self, digest: Digest, run: str = "") -> BlobWriter:
        """Begin a blob; end it with ``commit`` or ``discard``.

        Raises:
            StorageFull: no room.
        """


@dataclass(frozen=True)
class ActionKey:
    """What an action result is kept under."""

    instance: str
    action: Digest


@dataclass(frozen=True)
class StoredResult:
    """An action result as it was handed in, with its origin.

    ``result`` is the serialized ``ActionResult``; ``written_at`` seconds since the epoch;
    ``run`` is "" where the client sent none (Pants sends none with UpdateActionResult).
    """

    result: bytes
    written_at: float
    written_by: str
    run: str


class ActionCache(Protocol):
    """Action results by action. A miss is ``None``: an expected answer, not an error."""

    async def get(self, key: ActionKey, run: str = "") -> StoredResult | None:
        """The result, now leased to the run."""

    async def put(self, key: ActionKey, stored: StoredResult) -> None:
        """Keep or replace the result; durable when this returns.

        Raises:
            StorageFull: no room.
        """

    async def remove(self, key: ActionKey) -> None:
        """Forget the result, if there is one."""
