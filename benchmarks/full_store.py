"""A store of many small blobs, spread over all its generations, made with the store's own code."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from reapi_local.access.principal import OWNER
from reapi_local.clock import SystemClock
from reapi_local.context import Context
from reapi_local.events import EventStream
from reapi_local.proto import remote_execution_pb2 as re_pb2
from reapi_local.protocol.digest import Digest, DigestFunction, digest_of
from reapi_local.store.local.generation_store import GenerationStore
from reapi_local.store.local.rotation import StoreLimits

GENERATIONS = 6
_BLOB_BYTES = 256
_BATCH = 2000
_CONTEXT = Context(OWNER, "", b"")


def blob(number: int) -> bytes:
    """Blob 0 is in the oldest generation, and so are those that come next."""
    return number.to_bytes(8, "big") * (_BLOB_BYTES // 8)


def digests(numbers: Iterable[int]) -> list[re_pb2.Digest]:
    own = [_digest(blob(number)) for number in numbers]
    return [re_pb2.Digest(hash=one.hash_hex, size_bytes=one.size_bytes) for one in own]


async def fill(data_dir: Path, count: int, generations: int = GENERATIONS) -> None:
    """Make a server's data directory that holds ``count`` blobs."""
    limits, clock = StoreLimits(20 * 1024**3), SystemClock()
    store = GenerationStore(str(data_dir / "store"), limits, clock, EventStream(), durable=False)
    try:
        for generation in range(generations):
            if generation:
                await store.capacity.start_generation()
            first, end = (count * part // generations for part in (generation, generation + 1))
            for start in range(first, end, _BATCH):
                batch = [blob(number) for number in range(start, min(start + _BATCH, end))]
                failures = await store.write_many(
                    _CONTEXT, [(_digest(data), data) for data in batch]
                )
                if failures:
                    raise SystemExit(f"the store refused a blob: {next(iter(failures.values()))}")
    finally:
        await store.close()


def _digest(data: bytes) -> Digest:
    return digest_of(data, DigestFunction.SHA256)
