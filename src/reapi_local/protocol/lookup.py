"""Entries of an action cache, and the outcomes of a lookup: hit or miss, both values."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property
from typing import TypeAlias

from reapi_local.proto import remote_execution_pb2 as re_pb2
from reapi_local.protocol.digest import Digest


@dataclass(frozen=True)
class ActionKey:
    """The key of an action-cache entry."""

    instance: str
    action: Digest


@dataclass(frozen=True)
class StoredResult:
    """An action result as it was written, with its origin.

    ``result``: the serialized ``ActionResult``. ``written_at``: seconds since the epoch.
    ``written_by``: the principal's name. ``invocation``: the writer's tool invocation id, "" if
    its client sent none (Pants sends none with UpdateActionResult).
    """

    result: bytes
    written_at: float
    written_by: str
    invocation: str


class MissReason(StrEnum):
    """Why a lookup was a miss."""

    ABSENT = "absent"
    """There is no entry: it was never written, or it was evicted."""

    INCOMPLETE = "incomplete"
    """Blobs that the entry reaches aren't in the store."""

    CORRUPT = "corrupt"
    """The entry, or a Tree or Directory that it names, is damaged or malformed."""


@dataclass(frozen=True)
class Hit:
    """A lookup found an entry, and every blob that the entry reaches can be read."""

    stored: StoredResult

    @cached_property
    def result(self) -> re_pb2.ActionResult:
        """The action result, parsed at the first access. Don't modify it."""
        return re_pb2.ActionResult.FromString(self.stored.result)


@dataclass(frozen=True)
class Miss:
    """The reason of a miss; for an incomplete entry, the blobs that are missing."""

    reason: MissReason
    missing: tuple[Digest, ...] = ()


Lookup: TypeAlias = Hit | Miss
