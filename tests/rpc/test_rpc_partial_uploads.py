"""What is kept of uploads that broke off, and for how long."""

from __future__ import annotations

import asyncio

from reapi_local.clock import ManualClock
from reapi_local.protocol.digest import digest_of
from reapi_local.protocol.resource_name import UploadName
from reapi_local.rpc.partial_uploads import PartialUploads

KEPT_SECONDS = 600.0


class Writer:
    def __init__(self) -> None:
        self.discarded = asyncio.Event()

    async def write(self, chunk: bytes) -> None: ...

    async def commit(self) -> None: ...

    async def discard(self) -> None:
        self.discarded.set()


async def turns() -> None:
    """Let what is due happen."""
    for _ in range(10):
        await asyncio.sleep(0)


def name(number: int) -> UploadName:
    return UploadName("", str(number), digest_of(b"x"))


async def test_an_upload_nobody_resumes_is_dropped_when_its_time_is_over() -> None:
    clock, writer = ManualClock(), Writer()
    suspended = PartialUploads(clock)
    await suspended.keep(name(1), writer, 10)
    clock.advance(KEPT_SECONDS - 0.1)
    await turns()
    assert not writer.discarded.is_set()
    assert suspended.offset(name(1)) == 10
    clock.advance(0.1)
    await writer.discarded.wait()
    assert suspended.offset(name(1)) is None


async def test_an_upload_that_was_resumed_in_time_is_not_dropped() -> None:
    clock, writer, last = ManualClock(), Writer(), Writer()
    suspended = PartialUploads(clock)
    await suspended.keep(name(1), writer, 10)
    assert suspended.take(name(1)) is writer
    await suspended.keep(name(2), last, 10)
    clock.advance(KEPT_SECONDS)
    await last.discarded.wait()
    assert not writer.discarded.is_set()


async def test_one_that_broke_off_again_is_kept_for_its_whole_time_anew() -> None:
    clock, writer = ManualClock(), Writer()
    suspended = PartialUploads(clock)
    await suspended.keep(name(1), writer, 10)
    clock.advance(KEPT_SECONDS - 1)
    assert suspended.take(name(1)) is writer
    await suspended.keep(name(1), writer, 20)
    clock.advance(KEPT_SECONDS - 1)
    await turns()
    assert suspended.offset(name(1)) == 20
    clock.advance(1)
    await writer.discarded.wait()


async def test_the_end_waits_for_those_that_are_being_dropped() -> None:
    clock, writer = ManualClock(), Writer()
    suspended = PartialUploads(clock)
    await suspended.keep(name(1), writer, 10)
    clock.advance(KEPT_SECONDS)
    await suspended.close()
    assert writer.discarded.is_set()
    assert clock.timers == 0


async def test_the_oldest_gives_way_and_the_end_drops_all() -> None:
    suspended = PartialUploads(ManualClock())
    writers = [Writer() for _ in range(70)]
    for number, writer in enumerate(writers):
        await suspended.keep(name(number), writer, 1)
    assert [writer.discarded.is_set() for writer in writers] == [True] * 6 + [False] * 64
    await suspended.close()
    assert all(writer.discarded.is_set() for writer in writers)
