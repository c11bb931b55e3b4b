"""Whole blobs, whatever their size."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from reapi_local.errors import BlobNotFound
from reapi_local.protocol.digest import EMPTY_BLOBS, Digest
from reapi_local.store.large_files import is_large
from reapi_local.store.types import BlobStore

CHUNK_BYTES: Final = 1024 * 1024


async def read_whole(blobs: BlobStore, digests: Iterable[Digest], run: str) -> dict[Digest, bytes]:
    """Contents of those held (absent = not held), now leased to the run.

    Small ones are read at once, large ones piece by piece: the event loop waits for neither a
    long copy nor a disk.
    """
    wanted = list(digests)
    found = dict.fromkeys(EMPTY_BLOBS.intersection(wanted), b"")
    small = [digest for digest in wanted if not is_large(digest) and digest not in found]
    found.update(await blobs.read_many(small, run))
    for digest in filter(is_large, wanted):
        chunks = []
        try:
            async with blobs.open_read(digest, run) as reader:
                while chunk := await reader.read(CHUNK_BYTES):
                    chunks.append(chunk)
        except BlobNotFound:
            continue
        found[digest] = b"".join(chunks)
    return found
