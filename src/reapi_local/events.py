"""What happens in the server, as values; and the stream that brings them to subscribers.

Counters, log and the list of runs are subscribers. What emits an event knows none of them.
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
    """Who uses the action cache: a client by its own call, or the execution of an action."""

    CLIENT = "client"
    EXECUTION = "execution"


class CallBegan(NamedTuple):
    """A gRPC call came in. ``method`` is like ``ActionCache/GetActionResult``."""

    method: str


class CallEnded(NamedTuple):
    """A gRPC call ended, so many seconds after it came.

    ``code``: of ``google.rpc.Code``; a client that goes away from a stream ends it with CANCELLED.
    ``raw_metadata``: its metadata header. ``context``: None where the call was refused before it
    had one.
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
    """An action-cache entry that could not be answered with was removed."""

    context: Context
    action: Digest
    reason: MissReason
    missing: tuple[Digest, ...]


class BlobsRead(NamedTuple):
    """So many blobs, or parts of them, of so many bytes together were handed out."""

    context: Context
    blobs: int
    size_bytes: int


class BlobsWritten(NamedTuple):
    """So many blobs of so many bytes together were taken in, those that were there included."""

    context: Context
    blobs: int
    size_bytes: int


class ActionQueued(NamedTuple):
    """An operation was begun: it waits for its turn, or joins an equal action in flight."""

    context: Context
    action: Digest
    operation: str


class ActionStarted(NamedTuple):
    """An action got a slot, so many seconds after it was queued."""

    context: Context
    action: Digest
    queued_seconds: float


class ActionEnded(NamedTuple):
    """An action ended, so many seconds after it got a slot.

    ``code``: of ``google.rpc.Code``, as its client is told; OK whatever its exit code.
    """

    context: Context
    action: Digest
    code: int
    exit_code: int
    seconds: float


class GenerationEvicted(NamedTuple):
    """A generation of the store is gone; the whole store's bytes on disk before and after."""

    number: int
    bytes_before: int
    bytes_after: int


class BlobQuarantined(NamedTuple):
    """A corrupt blob was taken out of the look-up path; ``where`` it was on disk."""

    digest: Digest
    where: str


class EventStream:
    """Hands each event to those who subscribed to its type, in the order they did.

    Everything happens on the event loop, within the call: a subscriber that has more to do than to
    note the event puts it into a queue of its own.
    """

    def __init__(self) -> None:
        self._handlers: dict[type, tuple[Handler[Any], ...]] = {}
        self._failed: set[Handler[Any]] = set()

    def subscribe(self, kind: type[_E], handler: Handler[_E]) -> None:
        """Call ``handler`` with every event of that type from now on."""
        self._handlers[kind] = (*self._handlers.get(kind, ()), handler)

    def emit(self, event: tuple[Any, ...]) -> None:
        """Tell subscribers. It never blocks and never raises: one that fails is logged once."""
        for handler in self._handlers.get(type(event), ()):
            try:
                handler(event)
            except Exception:
                if handler not in self._failed:
                    self._failed.add(handler)
                    _log.exception("a subscriber failed on %s", type(event).__name__)
