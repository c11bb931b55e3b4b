"""Which files are open while outputs are collected, and that none are afterwards."""

from __future__ import annotations

import asyncio
import os
import resource
import tempfile
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import cast

import pytest

from contexts import context
from execute.collected import ANY, SHA256, File, declared, fill, noise, open_files, opened, parsed
from reapi_local.clock import SystemClock
from reapi_local.context import Context
from reapi_local.execute.clients.profile import DEFAULT
from reapi_local.execute.job import Job
from reapi_local.execute.local.inputs.input_roots import InputRoots
from reapi_local.execute.local.named_caches import NamedCaches
from reapi_local.execute.local.outputs import IN_MEMORY_BYTES, LargeFile, Outputs
from reapi_local.execute.local.policy import Policy
from reapi_local.execute.local.process_environment import ProcessEnvironment
from reapi_local.execute.local.runner import Runner, StopRequest
from reapi_local.execute.sandbox.interface import ProcessResult, ProcessSpec
from reapi_local.proto import remote_execution_pb2 as re_pb2
from reapi_local.protocol.command import ParsedAction
from reapi_local.protocol.digest import Digest, digest_of
from reapi_local.store.blob_store import BlobWriter
from reapi_local.store.memory import MemoryActionCache, MemoryStore


@pytest.mark.parametrize("stop_after", [1, 2, 3])
def test_closing_the_iterator_early_closes_all_files(tmp_path: Path, stop_after: int) -> None:
    large = File(noise(IN_MEMORY_BYTES + 1))
    fill(tmp_path, {"a": large, "d": {"e": {"a": large, "b": large}, "f": File(b"x")}})
    before = open_files()
    with opened(tmp_path) as fd:
        outputs = Outputs(fd, parsed([declared("a", ANY), declared("d", ANY)]), SHA256, follow=True)
        with closing(iter(outputs)) as pieces:
            piece = [next(pieces) for _ in range(stop_after)][-1]
            assert isinstance(piece, LargeFile)
            assert os.pread(piece.fd, 1 << 20, 0) == large.data
            assert open_files() > before + 1
        assert open_files() == before + 1


def test_collecting_holds_few_files_open_at_a_time(tmp_path: Path) -> None:
    large = File(noise(IN_MEMORY_BYTES + 1))
    fill(tmp_path, {"d": {str(n): large for n in range(100)}})
    before = open_files()
    with opened(tmp_path) as fd:
        outputs = Outputs(fd, parsed([declared("d", ANY)]), SHA256, follow=False)
        most = max(open_files() for _ in outputs)
    assert most <= before + 5


def test_errors_of_the_machine_are_not_blamed_on_the_action(tmp_path: Path) -> None:
    fill(tmp_path, {"a": File()})
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with opened(tmp_path) as fd:
        outputs = Outputs(fd, parsed([declared("a", ANY)]), SHA256, follow=False)
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (fd + 1, hard))
            with pytest.raises(OSError, match="Too many open files"):
                list(outputs)
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@dataclass
class FinishedSandbox:
    """A sandbox whose action left ``directory``."""

    directory: Path
    root: str = "/reapi/root"
    notes: tuple[str, ...] = ()

    async def start(self) -> None: ...

    async def close(self) -> None: ...

    @asynccontextmanager
    async def run(self, spec: ProcessSpec, stop: asyncio.Event) -> AsyncIterator[ProcessResult]:
        with opened(self.directory) as fd, tempfile.TemporaryFile() as nothing:
            silent = nothing.fileno()
            yield ProcessResult(0, fd, silent, silent, started_ns=0, ended_ns=0)


class NoInputs:
    @asynccontextmanager
    async def hold(self, context: Context, root: Digest) -> AsyncIterator[tuple[str, ...]]:
        yield ()


@dataclass
class StuckStore(MemoryStore):
    """A store whose writers never finish."""

    writing: asyncio.Event = field(default_factory=asyncio.Event)

    def __post_init__(self) -> None:
        super().__init__()

    async def open_write(self, context: Context, digest: Digest) -> BlobWriter:
        self.writing.set()
        await asyncio.Event().wait()
        raise AssertionError


def begin_run(directory: Path, store: MemoryStore) -> asyncio.Task[re_pb2.ExecuteResponse]:
    """Start to run a job with an output named "d"."""
    digest = digest_of(b"")
    job = Job(
        context=context(),
        digest=digest,
        action=ParsedAction(digest, digest, None, False, re_pb2.Platform()),
        command=parsed([declared("d", ANY)]),
        profile=DEFAULT,
        directories=(),
        timeout=1.0,
        size_bytes=0,
        queued_at=0.0,
    )
    inputs = cast("InputRoots", NoInputs())
    policy = Policy(default_timeout=1.0, max_timeout=1.0, hermetic=False, shares_host=False)
    caches = NamedCaches(str(directory / "caches"), 1, None, SystemClock())
    environment = ProcessEnvironment(policy, caches)
    runner = Runner(
        FinishedSandbox(directory), environment, inputs, store, MemoryActionCache(), SystemClock()
    )
    return asyncio.create_task(runner.run(job, StopRequest(), lambda: None, lambda: None))


async def cancelled(running: asyncio.Task[re_pb2.ExecuteResponse]) -> None:
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running


async def test_a_run_cancelled_while_it_stores_a_file_leaves_none_open(tmp_path: Path) -> None:
    fill(tmp_path, {"d": {"e": {"a": File(noise(IN_MEMORY_BYTES + 1))}}})
    before, store = open_files(), StuckStore()
    running = begin_run(tmp_path, store)
    await store.writing.wait()
    assert open_files() > before
    await cancelled(running)
    assert open_files() == before


async def test_a_run_cancelled_while_it_reads_a_file_leaves_none_open(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(tmp_path, {"d": {"e": {"a": File(noise(IN_MEMORY_BYTES + 1))}}})
    reads, goes_on, pread = asyncio.Event(), threading.Event(), os.pread
    loop = asyncio.get_running_loop()

    def held_up(fd: int, length: int, offset: int) -> bytes:
        loop.call_soon_threadsafe(reads.set)
        goes_on.wait()
        return pread(fd, length, offset)

    before = open_files()
    with monkeypatch.context() as patched:
        patched.setattr(os, "pread", held_up)
        running = begin_run(tmp_path, MemoryStore())
        await reads.wait()
        loop.call_soon(goes_on.set)
        await cancelled(running)
    assert open_files() == before
