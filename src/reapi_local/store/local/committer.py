"""The one thread that writes to indexes: concurrent writers share one commit."""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from dataclasses import dataclass
from typing import Final

from reapi_local.errors import Draining
from reapi_local.store.local.index import Batch, Index
from reapi_local.threads import to_the_end

_MAX_BATCHES: Final = 512
_MAX_BYTES: Final = 16 * 1024 * 1024


@dataclass(frozen=True)
class _Request:
    index: Index
    batch: Batch
    size_bytes: int
    loop: asyncio.AbstractEventLoop
    done: asyncio.Future[None]


_Outcome = tuple[_Request, Exception | None]


class Committer:
    """Group commit: while one commit waits for the disk, the next group of batches is collected."""

    def __init__(self) -> None:
        self._waiting: deque[_Request] = deque()
        self._changed = threading.Condition()
        self._closed = False
        self._thread = threading.Thread(target=self._run, name="committer", daemon=True)
        self._thread.start()

    async def commit(self, index: Index, batch: Batch) -> None:
        """Write the batch; it is visible and durable when this returns.

        Cancelling the caller doesn't withdraw the batch: the caller still waits for its commit.

        Raises:
            StorageFull: no space; nothing of the batch was written.
            Draining: the store was closed.
        """
        loop = asyncio.get_running_loop()
        size = sum(len(value) for _, _, value in batch.puts)
        request = _Request(index, batch, size, loop, loop.create_future())
        with self._changed:
            if self._closed:
                raise Draining
            self._waiting.append(request)
            self._changed.notify()
        await to_the_end(request.done)

    def close(self) -> None:
        """Commit every batch that was submitted, then end the thread."""
        with self._changed:
            self._closed = True
            self._changed.notify()
        self._thread.join()

    def _run(self) -> None:
        while group := self._next_group():
            outcomes = _write(group)
            for loop in {request.loop for request in group}:
                mine = [
                    (request.done, error) for request, error in outcomes if request.loop is loop
                ]
                if not loop.is_closed():
                    loop.call_soon_threadsafe(_resolve, mine)

    def _next_group(self) -> list[_Request]:
        """The requests of the next commit, all for one index. Empty if closed and done."""
        group: list[_Request] = []
        size = 0
        with self._changed:
            self._changed.wait_for(lambda: self._waiting or self._closed)
            while self._waiting and len(group) < _MAX_BATCHES and size < _MAX_BYTES:
                if group and self._waiting[0].index is not group[0].index:
                    break
                request = self._waiting.popleft()
                group.append(request)
                size += request.size_bytes
        return group


def _write(group: list[_Request]) -> list[_Outcome]:
    """Write all together. If that fails, write each alone, so that only the bad ones fail."""
    error = _try(group)
    if error is None or len(group) == 1:
        return [(request, error) for request in group]
    return [(request, _try([request])) for request in group]


def _try(group: list[_Request]) -> Exception | None:
    try:
        group[0].index.write([request.batch for request in group])
    except Exception as error:  # raised in the caller that awaits the batch
        return error
    return None


def _resolve(outcomes: list[tuple[asyncio.Future[None], Exception | None]]) -> None:
    for future, error in outcomes:
        if future.done():
            continue
        if error is None:
            future.set_result(None)
        else:
            future.set_exception(error)
