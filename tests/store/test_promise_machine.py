"""The promise of the store, against a model, through any sequence of steps.

What a run was told is there stays readable, with the right content, until its lease ends; whatever
rotations come between. The disk holds what is counted, and no more than the limit.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Coroutine
from contextlib import AbstractAsyncContextManager
from typing import Any, TypeVar

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from contexts import context
from reapi_local.clock import ManualClock
from reapi_local.errors import BlobNotFound, StorageFull
from reapi_local.events import EventStream
from reapi_local.proto import remote_execution_pb2 as re_pb2
from reapi_local.protocol.digest import Digest
from reapi_local.protocol.lookup import ActionKey, Miss, StoredResult
from reapi_local.store.blob_store import BlobReader
from reapi_local.store.local.generation_store import GenerationStore
from reapi_local.store.local.index import Table
from reapi_local.store.local.rotation import StoreLimits, cost_bytes
from store.helpers import (
    FILE_MAPS,
    KIB,
    LARGE,
    MIB,
    blob,
    bytes_on_disk,
    complete_cache,
    large_files,
    open_files_below,
)
from store.simulation import Loop, make_simulated

T = TypeVar("T")
LEASE = 80.0
MAX = 2 * MIB
LIMITS = StoreLimits(MAX, lease_seconds=LEASE)
SIZES = (1, 700, 5 * KIB, 60 * KIB, LARGE, 150 * KIB)
BLOBS = dict(blob(n, SIZES[n % len(SIZES)] + n) for n in range(48))
DIGESTS = list(BLOBS)
KEYS = [ActionKey(instance, DIGESTS[n]) for instance in ("", "a") for n in range(3)]
EXAMPLES = settings.default.max_examples
SLACK = 96 * KIB
"""Pages that a commit copies before it frees the old ones, in a store of few and small files."""

runs = st.sampled_from(["", "one", "two", "three"])
some = st.lists(st.sampled_from(DIGESTS), min_size=1, max_size=6)
one = st.sampled_from(DIGESTS)


class Promises(RuleBasedStateMachine):
    """Steps of clients, of time, of maintenance, and of the operator."""

    @initialize(durable=st.booleans())
    def open(self, durable: bool) -> None:
        self.loop = Loop(seed=0)
        self.root = tempfile.mkdtemp(prefix="promises-")
        self.clock = ManualClock()
        self.durable = durable
        self.told: list[tuple[str, bytes | ActionKey, float]] = []
        self.last_call: dict[str, float] = {}
        self.results: dict[ActionKey, set[bytes]] = {}
        self.readers: list[
            tuple[AbstractAsyncContextManager[BlobReader], BlobReader, Digest, bytes]
        ] = []
        self._open()

    def _open(self) -> None:
        async def opened() -> GenerationStore:
            store = GenerationStore(
                self.root, LIMITS, self.clock, EventStream(), durable=self.durable
            )
            make_simulated(store, self.loop)
            return store

        self.store = self.wait(opened())
        self.cache = complete_cache(self.store, EventStream())

    def wait(self, work: Coroutine[Any, Any, T]) -> T:
        return self.loop.run_until_complete(work)

    def teardown(self) -> None:
        if hasattr(self, "loop"):
            for opened, *_ in self.readers:
                self.wait(opened.__aexit__(None, None, None))
            self.wait(self.store.close())
            assert open_files_below(self.root) == []
            self.loop.run_until_complete(self.loop.shutdown_default_executor())
            self.loop.close()
            shutil.rmtree(self.root)

    # The model: what each run was told, and when it was last heard of.

    def heard(self, run: str) -> None:
        """A run that comes back after its lease ended holds nothing of before."""
        now = self.clock.monotonic()
        self.told = [entry for entry in self.told if self._is_held(entry)]
        self.last_call[run] = now

    def tell(self, run: str, *keys: bytes | ActionKey) -> None:
        self.told += [(run, key, self.clock.monotonic()) for key in keys]

    def _is_held(self, entry: tuple[str, bytes | ActionKey, float]) -> bool:
        run, _, since = entry
        return self.clock.monotonic() < (self.last_call[run] if run else since) + LEASE

    def promised(self) -> set[bytes]:
        return {e[1] for e in self.told if isinstance(e[1], bytes) and self._is_held(e)}

    def assert_leases_fill_the_store(self, needed_bytes: int) -> None:
        held = self.store.leases.leased()
        leased = sum(cost_bytes(d.size_bytes) for d in DIGESTS if d in held)
        baseline = len(self.store.generations.newest_first) * 40 * KIB
        assert leased + needed_bytes + baseline > MAX * 0.6, "refused with room to be made"

    # Steps of clients.

    @rule(run=runs, digests=some)
    def find_missing(self, run: str, digests: list[Digest]) -> None:
        self.heard(run)
        missing = self.wait(self.store.find_missing(context(run), digests))
        assert not self.promised() & set(missing)
        assert missing == [digest for digest in digests if digest in set(missing)]
        self.tell(run, *(digest for digest in digests if digest not in missing))

    @rule(run=runs, digests=some)
    def write_many(self, run: str, digests: list[Digest]) -> None:
        self.heard(run)
        failures = self.wait(self.store.write_many(context(run), [(d, BLOBS[d]) for d in digests]))
        for error in failures.values():
            assert isinstance(error, StorageFull)
            self.assert_leases_fill_the_store(sum(cost_bytes(d.size_bytes) for d in digests))
        self.tell(run, *(digest for digest in digests if digest not in failures))

    @rule(run=runs, digest=one, chunk=st.integers(1, 100_000), whole=st.booleans())
    def upload(self, run: str, digest: Digest, chunk: int, whole: bool) -> None:
        self.heard(run)
        try:
            writer = self.wait(self.store.open_write(context(run), digest))
        except StorageFull:
            self.assert_leases_fill_the_store(digest.size_bytes)
            return
        try:
            self.wait(writer.write(BLOBS[digest][:chunk]))
            if whole:
                self.wait(writer.write(BLOBS[digest][chunk:]))
                self.wait(writer.commit())
                self.tell(run, digest)
        except StorageFull:
            self.assert_leases_fill_the_store(digest.size_bytes)
        finally:
            self.wait(writer.discard())

    @rule(run=runs, digests=some)
    def read_many(self, run: str, digests: list[Digest]) -> None:
        self.heard(run)
        found = self.wait(self.store.read_many(context(run), digests))
        assert all(data == BLOBS[digest] for digest, data in found.items())
        assert self.promised() & set(digests) <= set(found)
        self.tell(run, *found)

    @rule(run=runs, digest=one)
    def open_a_reader(self, run: str, digest: Digest) -> None:
        self.heard(run)
        opened = self.store.open_read(context(run), digest)
        try:
            reader = self.wait(opened.__aenter__())
        except BlobNotFound:
            assert digest not in self.promised()
            return
        self.tell(run, digest)
        self.readers.append((opened, reader, digest, self.wait(reader.read(1000))))

    @precondition(lambda self: self.readers)
    @rule()
    def read_on_to_the_end(self) -> None:
        opened, reader, digest, data = self.readers.pop(0)
        while piece := self.wait(reader.read(70_000)):
            data += piece
        self.wait(opened.__aexit__(None, None, None))
        assert data == BLOBS[digest]

    @rule(run=runs, key=st.sampled_from(KEYS), outputs=some, known=st.booleans())
    def put_result(self, run: str, key: ActionKey, outputs: list[Digest], known: bool) -> None:
        self.heard(run)
        if known:
            absent = self.store.generations.missing(outputs)
            outputs = [digest for digest in outputs if digest not in absent]
        self.told = [entry for entry in self.told if entry[1] != key]
        message = re_pb2.ActionResult(
            output_files=[
                re_pb2.OutputFile(
                    path=f"out{n}",
                    digest=re_pb2.Digest(hash=d.hash_hex, size_bytes=d.size_bytes),
                )
                for n, d in enumerate(outputs)
            ]
        ).SerializeToString()
        try:
            stored = StoredResult(message, 1.0, "owner", run)
            self.wait(self.cache.put(context(run, key.instance), key.action, stored))
        except StorageFull:
            self.assert_leases_fill_the_store(4 * KIB)
            self.results.setdefault(key, set()).add(message)
        else:
            self.results[key] = {message}

    @rule(run=runs, key=st.sampled_from(KEYS))
    def get_result(self, run: str, key: ActionKey) -> None:
        self.heard(run)
        found = self.wait(self.cache.get(context(run, key.instance), key.action))
        held = {e[1] for e in self.told if isinstance(e[1], ActionKey) and self._is_held(e)}
        if isinstance(found, Miss):
            self.results.pop(key, None)
            assert key not in held, "a hit was promised"
            return
        assert found.stored.result in self.results[key]
        outputs = found.result.output_files
        reached = [d for d in DIGESTS if any(d.hash_hex == o.digest.hash for o in outputs)]
        self.tell(run, key, *reached)

    # Steps of time, maintenance and the operator.

    @rule(seconds=st.sampled_from([0.5, 5.0, LEASE / 3, LEASE, 3 * LEASE]))
    def time_passes(self, seconds: float) -> None:
        self.clock.advance(seconds)

    @precondition(lambda self: len(self.store.generations.newest_first) < 6)
    @rule()
    def begin_a_generation(self) -> None:
        self.wait(self.store.capacity.start_generation())

    @rule()
    def retire_the_oldest(self) -> None:
        self.wait(self.store.capacity.evict_oldest())

    @rule()
    def restart(self) -> None:
        """Leases live in memory: they end with the process."""
        self.wait(self.store.close())
        before = self.promised()
        self._open()
        assert self.store.generations.missing(sorted(before)) == []
        self.told.clear()
        self.last_call.clear()

    # What always holds.

    @invariant()
    def what_was_promised_is_there(self) -> None:
        if hasattr(self, "store"):
            assert self.store.generations.missing(sorted(self.promised())) == []

    @invariant()
    def the_disk_holds_what_is_counted(self) -> None:
        if hasattr(self, "store"):
            self.wait(self.store.capacity.settle())
            generations = self.store.generations
            assert self.store.capacity.used_bytes == generations.disk_bytes, "nothing is on its way"
            on_disk, counted = bytes_on_disk(self.root), generations.disk_bytes
            assert on_disk - FILE_MAPS <= counted <= on_disk + SLACK
            assert on_disk <= MAX + SLACK
            assert sum(g.index.large_bytes for g in generations.newest_first) <= 2 * MAX
            assert len(large_files(self.root)) == sum(
                key[-8:] > (64 * KIB).to_bytes(8, "big")
                for g in generations.newest_first
                for key in g.index.keys(Table.BLOBS)
            ), "each file is indexed"


@pytest.mark.slow
def test_the_promise_holds_through_any_steps() -> None:
    run_state_machine_as_test(
        Promises,
        settings=settings(
            max_examples=EXAMPLES,
            stateful_step_count=50,
            suppress_health_check=list(HealthCheck),
        ),
    )
