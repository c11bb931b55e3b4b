"""What the sandbox adds to a process, beside a plain spawn in a tree that is there."""

from __future__ import annotations

import asyncio
import os
import subprocess
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median, quantiles

from input_root import InputRoot, Inputs
from report import Result

from reapi_local.access.principal import OWNER
from reapi_local.clock import SystemClock
from reapi_local.context import Context
from reapi_local.events import EventStream
from reapi_local.execute.local.inputs.input_roots import InputRoots
from reapi_local.execute.sandbox.host.identity import ACTION_UID
from reapi_local.execute.sandbox.interface import ActionLimits, ProcessSpec, SandboxConfig
from reapi_local.execute.sandbox.slot.slot_sandbox import SlotSandbox
from reapi_local.protocol.digest import digest_of, parse_digest
from reapi_local.store.local.generation_store import GenerationStore
from reapi_local.store.local.rotation import StoreLimits

_PROGRAM = "/bin/true"
_SPAWNS = 200
_WARM_UP = 20
_PLENTY = 1 << 36
_CONTEXT = Context(OWNER, "", b"")


def overhead(scratch: Path, rounds: int) -> list[Result]:
    """Each sandboxed process beside a plain one; a round tells its median and 95th percentile."""
    return asyncio.run(_overhead(scratch, rounds))


async def _overhead(scratch: Path, rounds: int) -> list[Result]:
    async with _workshop(scratch) as workshop:
        await workshop.rounds(_WARM_UP, changing=True)
        cached = [await workshop.rounds(_SPAWNS, changing=False) for _ in range(rounds)]
        changing = [await workshop.rounds(_SPAWNS, changing=True) for _ in range(rounds)]
    plain = [median(pair.plain_s for pair in pairs) for pairs in cached]
    return [
        Result(f"spawn of {_PROGRAM} in 1,000 files", "plain", "s", plain),
        *_results("root cached", cached, 1e-3),
        *_results("new root, one file changed", changing, 2e-3),
    ]


@dataclass(frozen=True)
class _Pair:
    plain_s: float
    sandbox_s: float

    @property
    def added_s(self) -> float:
        return self.sandbox_s - self.plain_s


def _results(what: str, rounds: list[list[_Pair]], bar: float) -> Iterator[Result]:
    added = [sorted(pair.added_s for pair in pairs) for pairs in rounds]
    medians = [median(samples) for samples in added]
    tails = [quantiles(samples, n=20)[-1] for samples in added]
    whole = [median(pair.sandbox_s for pair in pairs) for pairs in rounds]
    yield Result(f"spawn, {what}", "sandbox", "s", whole)
    yield Result(f"added by the sandbox, {what}: median", "sandbox", "s", medians, bar)
    yield Result(f"added by the sandbox, {what}: 95 %", "sandbox", "s", tails, 2 * bar)


class _Workshop:
    """A store, a sandbox, and the same tree as plain files."""

    def __init__(self, store: GenerationStore, roots: InputRoots, sandbox: SlotSandbox) -> None:
        self._store, self._roots, self._sandbox = store, roots, sandbox
        self._inputs = Inputs()
        self._root = self._inputs.whole()

    async def begin(self, tree: Path) -> None:
        self._inputs.write(tree)
        self._tree = tree
        await self._keep(self._root)

    async def rounds(self, count: int, *, changing: bool) -> list[_Pair]:
        pairs = []
        for _ in range(count):
            if changing:
                self._root = self._inputs.changed()
                await self._keep(self._root)
            pairs.append(_Pair(self._plain(), await self._sandboxed()))
        return pairs

    async def _keep(self, root: InputRoot) -> None:
        await self._store.write_many(_CONTEXT, [(digest_of(data), data) for data in root.content])

    def _plain(self) -> float:
        with (self._tree / "output").open("w+b") as output:
            began = time.perf_counter()
            subprocess.run(
                [_PROGRAM],
                check=True,
                cwd=self._tree,
                env={},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
            return time.perf_counter() - began

    async def _sandboxed(self) -> float:
        began = time.perf_counter()
        async with self._roots.hold(_CONTEXT, parse_digest(self._root.digest)) as layers:
            spec = ProcessSpec((_PROGRAM,), {}, layers=layers)
            async with self._sandbox.run(spec, asyncio.Event()) as outcome:
                seconds = time.perf_counter() - began
                if outcome.exit_code:
                    raise SystemExit(f"{_PROGRAM} failed in the sandbox: {outcome.problem}")
        return seconds


@asynccontextmanager
async def _workshop(scratch: Path) -> AsyncIterator[_Workshop]:
    places = {name: scratch / name for name in ("store", "work", "layers", "caches", "tree")}
    for place in places.values():
        place.mkdir(parents=True)
    store = GenerationStore(
        str(places["store"]), StoreLimits(_PLENTY), SystemClock(), EventStream(), durable=True
    )
    owner = ACTION_UID if os.getuid() == 0 else None
    roots = InputRoots(store, str(places["layers"]), _PLENTY, owner)
    config = SandboxConfig(
        count=2,
        limits=ActionLimits(),
        work_dir=str(places["work"]),
        layers_dir=str(places["layers"]),
        caches_dir=str(places["caches"]),
    )
    sandbox = SlotSandbox(config)
    try:
        await sandbox.start()
        workshop = _Workshop(store, roots, sandbox)
        await workshop.begin(places["tree"])
        yield workshop
    finally:
        await sandbox.close()
        await roots.close()
        await store.close()
