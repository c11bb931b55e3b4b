"""What an action cache holds, and what a look-up in it comes to: values, not errors."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property
from typing import TypeAlias

from reapi_local.proto import remote_execution_pb2 as re_pb2
from reapi_local.protocol.digest import Digest


@dataclass(frozen=True)
class ActionKey:
    """Two executions are the same when instance and action are."""

    instance: str
    action: Digest


@dataclass(frozen=True)
class StoredResult:
    """An action result as it was handed in, with its origin.

    ``result`` is the serialized ``ActionResult``; ``written_at`` seconds since the epoch;
    ``written_by`` the principal's name; ``run`` the writer's tool invocation id, "" where its
    client sent none (Pants sends none with UpdateActionResult).
    """

    result: bytes
    written_at: float
    written_by: str
    run: str


class MissReason(StrEnum):
    """Why a look-up found nothing to answer with."""

    ABSENT = "absent"
    """There is no entry: never written under this key, or evicted."""

    INCOMPLETE = "incomplete"
    """The entry names blobs that aren't in the store."""

    CORRUPT = "corrupt"
    """The entry isn't what was written, or what it names isn't what it should be."""


@dataclass(frozen=True)
class Hit:
    """The entry that was found; every blob that it reaches can be read."""

    stored: StoredResult

    @cached_property
    def result(self) -> re_pb2.ActionResult:
        """The action result, parsed when it is first asked for. Not to be changed."""
        return re_pb2.ActionResult.FromString(self.stored.result)


@dataclass(frozen=True)
class Miss:
    """Why there is no hit, and the blobs that are missing, for an incomplete entry."""

    reason: MissReason
    missing: tuple[Digest, ...] = ()


Lookup: TypeAlias = Hit | Miss
