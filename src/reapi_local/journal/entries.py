"""What goes through the intake: an event with its time, or one of these.

Times are seconds since the epoch.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from reapi_contract.run_reports import Kept, ProcessReport, RunReport
from reapi_local.protocol.digest import Digest


class Happened(NamedTuple):
    """An event of the server."""

    at: float
    event: object


@dataclass(frozen=True)
class Reported:
    """A report that arrived. ``kept`` is set when it is committed."""

    at: float
    run: RunReport
    processes: Sequence[ProcessReport]
    kept: asyncio.Future[Kept]


@dataclass(frozen=True)
class ActionRead:
    """What the blobs of an action say.

    ``definition``: as :mod:`reapi_local.journal.definitions` encodes it. ``link``: see
    :mod:`reapi_local.journal.link`. ``tree_bytes``: the files in the Trees of its result.
    """

    at: float
    action: Digest
    definition: bytes
    input_root: Digest
    link: bytes
    tree_bytes: int


@dataclass(frozen=True)
class TreeRead:
    """The Directories of an input root, its own among them: all, or those not known before."""

    at: float
    root: Digest
    directories: Sequence[tuple[Digest, bytes]]


@dataclass(frozen=True)
class Barrier:
    """``reached`` is set when all entries before it are committed."""

    reached: asyncio.Future[None]


class Unread(NamedTuple):
    """An action whose blobs are to be read.

    ``description``: what its client calls it. ``trees``: those of its result. ``was_executed``: so
    the store has its inputs.
    """

    action: Digest
    description: str
    trees: tuple[Digest, ...]
    was_executed: bool


@dataclass
class Effects:
    """What follows from a batch when it is committed.

    ``then``: calls to make on the event loop. ``roots``: input roots to keep the Directories of.
    """

    then: list[Callable[[], object]] = field(default_factory=list)
    unread: list[Unread] = field(default_factory=list)
    roots: list[Digest] = field(default_factory=list)
