"""What is kept of uploads that broke off, and for how long."""

from __future__ import annotations

import asyncio

from reapi_local.protocol.digest import digest_of
from reapi_local.protocol.resource_name import UploadName
from reapi_local.rpc.partial_uploads import PartialUploads


class Writer:
    def __init__(self) -> None:
        self.discarded = asyncio.Event()

    async def write(self, chunk: bytes) -> None: ...

    async def commit(self) -> None: ...

    async def discard(self) -> None:
        self.discarded.set()


def name(number: int) -> UploadName:
    return UploadName("", str(number), digest_of(b"x"))


async def test_an_upload_nobody_resumes_is_dropped_when_its_time_is_over() -> None:
    suspended, writer = PartialUploads(seconds=0), Writer()
    await suspended.keep(name(1), writer, 10)
    assert suspended.offset(name(1)) == 10
    await writer.discarded.wait()
    assert suspended.offset(name(1)) is None


async def test_an_upload_that_was_resumed_in_time_is_not_dropped() -> None:
    suspended, writer, last = PartialUploads(seconds=0), Writer(), Writer()
    await suspended.keep(name(1), writer, 10)
    assert suspended.take(name(1)) is writer
    await suspended.keep(name(2), last, 10)
    await last.discarded.wait()
    assert not writer.discarded.is_set()


async def test_the_oldest_gives_way_and_the_end_drops_all() -> None:
    suspended = PartialUploads()
    writers = [Writer() for _ in range(70)]
    for number, writer in enumerate(writers):
        await suspended.keep(name(number), writer, 1)
    assert [writer.discarded.is_set() for writer in writers] == [True] * 6 + [False] * 64
    await suspended.close()
    assert all(writer.discarded.is_set() for writer in writers)
