"""Writes blobs and results for ever and tells each acknowledgement; to be killed.

    python killed_writer.py ROOT MAX_BYTES LEASE_SECONDS FIRST_SEED HOW

HOW: "grow" begins generations, "rotate" evicts them too.
"""

from __future__ import annotations

import asyncio
import os
import random
import sys
from itertools import count

from contexts import context
from reapi_local.clock import SystemClock
from reapi_local.errors import StorageFull
from reapi_local.events import EventStream
from reapi_local.protocol.lookup import StoredResult
from reapi_local.store.local.generation_results import GenerationActionCache
from reapi_local.store.local.generation_store import GenerationStore
from reapi_local.store.local.rotation import StoreLimits
from store.helpers import KIB, LARGE, blob

SIZES = (20, 700, 5 * KIB, 60 * KIB, LARGE, 300 * KIB)


async def main(root: str, max_bytes: str, lease: str, first: str, how: str) -> None:
    limits = StoreLimits(int(max_bytes), lease_seconds=float(lease))
    store = GenerationStore(root, limits, SystemClock(), EventStream(), durable=True)
    seeds = count(int(first))
    rotating = rotate(store) if how == "rotate" else grow(store)
    await asyncio.gather(*(client(store, seeds) for _ in range(4)), rotating)


async def client(store: GenerationStore, seeds: count[int]) -> None:
    results = GenerationActionCache(store, EventStream())
    for seed in seeds:
        size = random.Random(seed).choice(SIZES)
        data = blob(seed, size)
        try:
            if seed % 3:
                for error in (await store.write_many(context("run"), [data])).values():
                    raise error
            else:
                writer = await store.open_write(context("run"), data[0])
                await writer.write(data[1][: size // 2])
                await writer.write(data[1][size // 2 :])
                await writer.commit()
            tell("blob", seed, size)
            result = StoredResult(b"%d" % seed, 0.0, "owner", "run")
            await results.put(context("run"), data[0], result)
            tell("result", seed, size)
        except StorageFull:
            continue


async def grow(store: GenerationStore) -> None:
    for _ in range(6):
        for _ in range(200):
            await asyncio.sleep(0)
        await store.capacity.start_generation()


async def rotate(store: GenerationStore) -> None:
    while True:
        await store.capacity.start_generation()
        await store.capacity.evict_oldest()


def tell(kind: str, seed: int, size: int) -> None:
    os.write(1, f"{kind} {seed} {size}\n".encode())


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
