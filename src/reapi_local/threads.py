"""Blocking work in threads, and work that cancellation must not interrupt."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from contextlib import suppress
from functools import partial
from typing import Any, ParamSpec, TypeVar

_P = ParamSpec("_P")
_T = TypeVar("_T")


async def in_thread(function: Callable[_P, _T], *args: _P.args, **kwargs: _P.kwargs) -> _T:
    """Call ``function`` in a thread. A cancelled caller still waits until it ends.

    Otherwise the caller could close a file that the thread is using, and the next opened file
    would get the same descriptor.
    """
    call = partial(function, *args, **kwargs)
    return await to_the_end(asyncio.get_running_loop().run_in_executor(None, call))


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
