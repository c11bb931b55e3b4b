"""Work that must not hold up the event loop, and work that cancellation must not interrupt."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Coroutine, Sequence
from contextlib import suppress
from functools import partial
from typing import Any, Final, ParamSpec, TypeVar

LONG_BYTES: Final = 64 * 1024
"""What handles longer messages should do so in a thread."""

SLICE: Final = 1024
"""How many small things, like digests, are handled before other calls have their turn."""

DIRECTORIES_SLICE: Final = 128
"""Likewise for directories, of which each may have `LONG_BYTES`."""

WRITES_SLICE: Final = 128
"""Likewise for writes to the store, one by one."""

_P = ParamSpec("_P")
_T = TypeVar("_T")


async def in_thread(function: Callable[_P, _T], *args: _P.args, **kwargs: _P.kwargs) -> _T:
    """Call ``function`` in a thread. A cancelled caller still waits until it ends.

    Otherwise the caller could close a file that the thread is using, and the next opened file
    would get the same descriptor.
    """
    call = partial(function, *args, **kwargs)
    return await to_the_end(asyncio.get_running_loop().run_in_executor(None, call))


async def in_thread_if_long(
    length: int, function: Callable[_P, _T], *args: _P.args, **kwargs: _P.kwargs
) -> _T:
    """Call ``function``, in a thread if it handles a message of more than `LONG_BYTES`."""
    if length > LONG_BYTES:
        return await in_thread(function, *args, **kwargs)
    return function(*args, **kwargs)


async def to_the_end(work: Coroutine[Any, Any, _T] | asyncio.Future[_T]) -> _T:
    """Run ``work`` to its end, even if the caller is cancelled meanwhile; then raise that."""
    task = asyncio.ensure_future(work)
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        while not task.done():
            with suppress(asyncio.CancelledError):  # cancelled again: still wait for the end
                await asyncio.wait([task])
        if not task.cancelled():
            task.exception()  # retrieved, so that asyncio doesn't log it
        raise


async def in_slices(items: Sequence[_T], size: int = SLICE) -> AsyncGenerator[Sequence[_T], None]:
    """The items in slices, between which the event loop serves other calls."""
    if len(items) <= size:
        yield items
        return
    for start in range(0, len(items), size):
        if start:
            await asyncio.sleep(0)
        yield items[start : start + size]
