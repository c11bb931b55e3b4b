"""The server by itself: start, memory, and old generations against new ones."""

from __future__ import annotations

import argparse
import asyncio
import time
from pathlib import Path
from statistics import median

import blobs
import full_store
from load import connect, many
from report import Result
from servers import Serving, reapi_local

_FIND = "ContentAddressableStorage/FindMissingBlobs"
_ASKED = 1000
_IDLE_S = 1.0
_BURST = 50
_MAX_BURSTS = 400


def measure(options: argparse.Namespace) -> list[Result]:
    """Everything, on an empty store and on a full one in turns."""
    empty, full, small = (Path(options.scratch) / name for name in ("empty", "full", "small"))
    began = time.perf_counter()
    asyncio.run(full_store.fill(full, options.blobs))
    asyncio.run(full_store.fill(small, _ASKED, generations=1))
    print(f"(the full store took {time.perf_counter() - began:.0f} s to make)", flush=True)
    return [
        *_starts(empty, full, options.rounds),
        *_lookups(full, small, options.rounds),
        *_during_retirement(full, options.blobs),
    ]


def _starts(empty: Path, full: Path, rounds: int) -> list[Result]:
    seconds: dict[str, list[float]] = {"empty store": [], "full store": []}
    memory: dict[str, list[float]] = {"empty store": [], "full store": []}
    for _ in range(rounds):
        for subject, data_dir in (("empty store", empty), ("full store", full)):
            with reapi_local(data_dir) as serving:
                seconds[subject].append(serving.started_s)
                time.sleep(_IDLE_S)
                memory[subject].append(serving.private_bytes)
    return [
        *(
            Result("start to serving", subject, "s", samples, 1.0)
            for subject, samples in seconds.items()
        ),
        *(
            Result("private memory, idle", subject, "bytes", samples)
            for subject, samples in memory.items()
        ),
    ]


def _lookups(full: Path, small: Path, rounds: int) -> list[Result]:
    """The same 1,000 digests: in the oldest of all generations, and in a store of nothing else.

    Short bursts in turns, so that whatever else the machine does meets both.
    """
    request = blobs.find_missing(full_store.digests(range(_ASKED)))
    old: list[float] = []
    new: list[float] = []
    with reapi_local(full) as full_server, reapi_local(small) as small_server:
        for server in (full_server, small_server):
            many(server, _FIND, request, _BURST)
        for _ in range(10 * rounds):
            old.append(many(full_server, _FIND, request, _BURST).wall_s)
            new.append(many(small_server, _FIND, request, _BURST).wall_s)
        memory = full_server.private_bytes
    ratios = [one / other for one, other in zip(old, new, strict=True)]
    return [
        Result("FindMissingBlobs, 1,000 there", "empty store", "s", new),
        Result("FindMissingBlobs, 1,000 there", "full store", "s", old),
        Result("FindMissingBlobs, old to new store", "full store", "ratio", ratios, 1.3),
        Result("private memory, after these", "full store", "bytes", [memory]),
    ]


def _during_retirement(full: Path, count: int) -> list[Result]:
    """Lookups in the oldest generation while all of it, being leased, is copied forward."""
    leased = full_store.digests(range(count // full_store.GENERATIONS))
    request = blobs.find_missing(leased[:_ASKED])
    with reapi_local(full) as serving:
        used = serving.status()["store"]["disk_bytes"]
    # So little more than is used that the first write makes it retire one.
    with reapi_local(full, f"--max-size={used * 11 // 10}") as serving, connect(serving) as client:
        client.unary(_FIND, blobs.find_missing(leased).SerializeToString())
        before = [many(serving, _FIND, request, _BURST).wall_s for _ in range(20)]
        client.unary(
            "ContentAddressableStorage/BatchUpdateBlobs",
            blobs.update(blobs.random_blobs(1, 100)).SerializeToString(),
        )
        during: list[float] = []
        while len(during) < _MAX_BURSTS:
            burst = many(serving, _FIND, request, _BURST).wall_s
            if _has_retired(serving):
                break
            during.append(burst)
    if not during:
        raise SystemExit("the generation was gone before a lookup ended; use more --blobs")
    ratios = [burst / median(before) for burst in during]
    return [
        Result("FindMissingBlobs, before", "full store", "s", before),
        Result("FindMissingBlobs, while a generation is retired", "full store", "s", during),
        Result("FindMissingBlobs, while to before", "full store", "ratio", ratios, 1.1),
    ]


def _has_retired(serving: Serving) -> bool:
    return "retired generation" in serving.log.read_text(encoding="utf-8")
