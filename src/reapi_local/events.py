"""Events, which are values that say what happened in the server, and the stream of events.

The counters, the log and the list of runs are subscribers. Code that emits an event knows none of
them.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from enum import StrEnum
from typing import Any, NamedTuple, TypeVar

from reapi_local.context import Context
from reapi_local.protocol.digest import Digest
from reapi_local.protocol.lookup import Lookup, MissReason, StoredResult

_log = logging.getLogger(__name__)
_E = TypeVar("_E", bound=tuple[Any, ...])
Handler = Callable[[_E], object]


class CacheUser(StrEnum):
    """Who uses the action cache: a client with its own call, or the execution of an action."""

    CLIENT = "client"
    EXECUTION = "execution"


class CallBegan(NamedTuple):
    """A gRPC call came in. ``method`` is like ``ActionCache/GetActionResult``."""

    method: str


class CallEnded(NamedTuple):
    """A gRPC call ended, ``seconds`` after it came in.

    ``code``: of ``google.rpc.Code``; CANCELLED if the client disconnected. ``raw_metadata``: its
    metadata header. ``context``: None if the call was refused before it had one.
    """

    method: str
    code: int
    seconds: float
    raw_metadata: bytes
    context: Context | None


class LookedUp(NamedTuple):
    """An action was looked up in the action cache."""

    context: Context
    action: Digest
    outcome: Lookup
    user: CacheUser


class ResultWritten(NamedTuple):
    """An action result was written, and is durable."""

    context: Context
    action: Digest
    stored: StoredResult
    user: CacheUser


class EntryRemoved(NamedTuple):
    """An action-cache entry that can't be used was removed: ``reason`` says why."""

    context: Context
    action: Digest
    reason: MissReason
    missing: tuple[Digest, ...]


class BlobsRead(NamedTuple):
    """Blobs, or parts of blobs, were read. ``size_bytes`` is the total that was read."""

    context: Context
    blobs: int
    size_bytes: int


class BlobsWritten(NamedTuple):
    """Blobs were written. ``size_bytes`` is their total, including blobs already stored."""

    context: Context
    blobs: int
    size_bytes: int


class ActionQueued(NamedTuple):
    """An operation began: its action is queued, or joins an equal action in flight."""

    context: Context
    action: Digest
    operation: str


class ActionStarted(NamedTuple):
    """An action got a slot, ``queued_seconds`` after it was queued."""

    context: Context
    action: Digest
    queued_seconds: float


class ActionEnded(NamedTuple):
    """An action ended ``seconds`` after it got a slot; that includes storing its outputs.

    ``code``: of ``google.rpc.Code``, as the client receives it; OK whatever the exit code is.
    """

    context: Context
    action: Digest
    code: int
    exit_code: int
    seconds: float


class GenerationEvicted(NamedTuple):
    """A generation was evicted: the bytes on disk of the whole store before and after."""

    number: int
    bytes_before: int
    bytes_after: int


class BlobQuarantined(NamedTuple):
    """A corrupt blob was removed from the index; ``where``: its generation's directory."""

    digest: Digest
    where: str


class EventStream:
    """Passes each event to the subscribers of its type, in the order in which they subscribed.

    Subscribers run on the event loop, within :meth:`emit`. A subscriber with more work than to
    record the event must put it into a queue of its own.
    """

    def __init__(self) -> None:
        self._handlers: dict[type, tuple[Handler[Any], ...]] = {}
        self._failed: set[Handler[Any]] = set()

    def subscribe(self, kind: type[_E], handler: Handler[_E]) -> None:
        """Call ``handler`` with every later event of that type."""
        self._handlers[kind] = (*self._handlers.get(kind, ()), handler)

    def emit(self, event: tuple[Any, ...]) -> None:
        """Call the subscribers. Never raises: a subscriber that fails is logged once."""
        for handler in self._handlers.get(type(event), ()):
            try:
                handler(event)
            except Exception:
                if handler not in self._failed:
                    self._failed.add(handler)
                    _log.exception("a subscriber failed on %s", type(event).__name__)
