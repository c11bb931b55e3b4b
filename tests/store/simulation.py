"""A world where threads are steps of the event loop, in an order that a seed decides.

What would run in a thread runs whole, after a random number of turns of the loop; so does the
thread that commits. A seed that breaks something breaks it each time.
"""

from __future__ import annotations

import asyncio
import random
from collections import deque
from collections.abc import Callable, Coroutine
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, TypeVar

from reapi_local.store.local.committer import Committer, _Request, _resolve, _write
from reapi_local.store.local.generation_store import GenerationStore
from reapi_local.store.local.index import Batch, Index

T = TypeVar("T")
_MAX_TURNS = (1, 4, 12, 100)


class Loop(asyncio.SelectorEventLoop):
    """An event loop on which no time passes."""

    def __init__(self, seed: int) -> None:
        super().__init__()
        self.random = random.Random(seed)
        self.set_default_executor(_Executor(self))

    def time(self) -> float:
        return 0.0

    def in_some_turns(self, function: Callable[[], object]) -> None:
        """Call it after a random number of turns."""
        turns = self.random.randrange(self.random.choice(_MAX_TURNS))

        def turn() -> None:
            nonlocal turns
            turns -= 1
            self.call_soon(turn if turns > 0 else function)

        self.call_soon(turn)


class _Executor(ThreadPoolExecutor):
    def __init__(self, loop: Loop) -> None:
        super().__init__(max_workers=1)
        self._loop = loop

    def submit(self, function: Callable[..., T], /, *args: Any, **kwargs: Any) -> Future[T]:
        future: Future[T] = Future()

        def run() -> None:
            try:
                future.set_result(function(*args, **kwargs))
            except Exception as error:
                future.set_exception(error)

        self._loop.in_some_turns(run)
        return future


class _Committer(Committer):
    """Groups of random length, in order."""

    def __init__(self, loop: Loop) -> None:
        self._loop, self._waiting = loop, deque()  # and no thread

    async def commit(self, index: Index, batch: Batch) -> None:
        request = _Request(index, batch, 0, self._loop, self._loop.create_future())
        self._waiting.append(request)
        self._loop.in_some_turns(self._write_group)
        await request.done

    def _write_group(self) -> None:
        if not self._waiting:
            return
        group = [self._waiting.popleft()]
        while self._waiting and self._waiting[0].index is group[0].index:
            group.append(self._waiting.popleft())
        outcomes = [(request.done, error) for request, error in _write(group)]
        self._loop.in_some_turns(lambda: _resolve(outcomes))

    def close(self) -> None:
        assert not self._waiting


def simulate(seed: int, work: Callable[[Loop], Coroutine[Any, Any, None]]) -> None:
    """Run ``work`` to its end in the order that ``seed`` decides."""
    loop = Loop(seed)
    try:
        loop.run_until_complete(work(loop))
        loop.run_until_complete(loop.shutdown_default_executor())
    finally:
        loop.close()


def make_simulated(store: GenerationStore, loop: Loop) -> None:
    """Let the store's commits be steps of the loop."""
    store.generations._committer.close()
    store.generations._committer = _Committer(loop)
