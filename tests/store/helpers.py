"""What the tests of the store share: blobs, stores of every kind, and what is really on disk."""

from __future__ import annotations

import asyncio
import os
import random
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager

from contexts import context
from reapi_local.clock import Clock, SystemClock
from reapi_local.events import EventStream
from reapi_local.protocol.digest import Digest, DigestFunction, digest_of
from reapi_local.store.blob_store import Blob, BlobStore
from reapi_local.store.completeness import CompleteActionCache
from reapi_local.store.local.generation_results import GenerationActionCache
from reapi_local.store.local.generation_store import GenerationStore
from reapi_local.store.local.large_files import INLINE_MAX_BYTES
from reapi_local.store.local.rotation import StoreLimits
from reapi_local.store.memory import MemoryStore

KIB = 1024
MIB = 1024 * KIB
LARGE = INLINE_MAX_BYTES + 1
FILE_MAPS = 16 * KIB
"""What a file system may add to large and fragmented files to find their blocks."""
STORES = ("durable", "relaxed", "memory")


def blob(seed: int, size: int, function: DigestFunction = DigestFunction.SHA256) -> Blob:
    """Bytes that no other seed gives, and their digest."""
    data = random.Random(seed).randbytes(size)
    return digest_of(data, function), data


@asynccontextmanager
async def generation_store(
    root: object,
    *,
    max_bytes: int = 1024 * MIB,
    lease_seconds: float = 3600.0,
    clock: Clock | None = None,
    events: EventStream | None = None,
    durable: bool = False,
) -> AsyncIterator[GenerationStore]:
    """A store on disk for the length of a block."""
    limits = StoreLimits(max_bytes, lease_seconds=lease_seconds)
    store = GenerationStore(
        str(root), limits, clock or SystemClock(), events or EventStream(), durable=durable
    )
    try:
        yield store
    finally:
        await store.close()


def complete_cache(store: GenerationStore, events: EventStream) -> CompleteActionCache:
    """The action cache of a store on disk, as the server has it."""
    return CompleteActionCache(GenerationActionCache(store, events), store, events)


@asynccontextmanager
async def store_of_kind(kind: str, root: object) -> AsyncIterator[BlobStore]:
    """One of ``STORES``."""
    if kind == "memory":
        yield MemoryStore()
    else:
        async with generation_store(root, durable=kind == "durable") as store:
            yield store


async def read(store: BlobStore, digest: Digest, run: str = "") -> bytes:
    """All of a blob, in pieces of an odd size; raises as ``open_read``."""
    async with store.open_read(context(run), digest) as reader:
        pieces = []
        while piece := await reader.read(10_007):
            pieces.append(piece)
    return b"".join(pieces)


async def write(store: BlobStore, data: Blob, run: str = "") -> None:
    """Store one blob; raises what kept it from being stored."""
    for error in (await store.write_many(context(run), [data])).values():
        raise error


async def stream(store: BlobStore, data: Blob, run: str = "", chunk_bytes: int = 50_000) -> None:
    """Store one blob through a writer."""
    writer = await store.open_write(context(run), data[0])
    try:
        for start in range(0, len(data[1]), chunk_bytes):
            await writer.write(data[1][start : start + chunk_bytes])
        await writer.commit()
    finally:
        await writer.discard()


async def until(condition: Callable[[], object]) -> None:
    """Give others their turns until something is so."""
    for _ in range(1_000_000):
        if condition():
            return
        await asyncio.sleep(0)
    raise AssertionError("it never came to be so")


def large_files(root: object) -> list[str]:
    """The files of large blobs."""
    return [path for path in files_below(root) if "/large/" in path]


def files_below(root: object) -> Iterator[str]:
    """Every file."""
    for directory, _, names in os.walk(str(root)):
        yield from (os.path.join(directory, name) for name in names)


def bytes_on_disk(root: object) -> int:
    """The blocks of all files below ``root``; a file with several names counts once."""
    blocks = {(s.st_dev, s.st_ino): s.st_blocks for s in map(os.stat, files_below(root))}
    return 512 * sum(blocks.values())


def open_files_below(root: object) -> list[str]:
    """Files of the store that this process has open, those LMDB holds left out."""
    held = []
    for fd in os.listdir("/proc/self/fd"):
        try:
            target = os.readlink(f"/proc/self/fd/{fd}")
        except OSError:
            continue
        if target.startswith(str(root)) and ".mdb" not in target:
            held.append(target)
    return held
