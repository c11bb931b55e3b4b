"""Look-ups of a run, packed: most are hits, and a row for each would cost more than the call."""

from __future__ import annotations

import sqlite3
import struct
from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple

_LOOKUP: Final = struct.Struct("<dQB")
Packed = tuple[float, int, int]
"""Time, number of the action, and the place of the outcome in :data:`schema.OUTCOMES`."""


class Lookup(NamedTuple):
    """One look-up of a run."""

    at: float
    action: int
    outcome: int


def pack(lookups: Sequence[Packed]) -> bytes:
    """The look-ups of a batch."""
    return b"".join([_LOOKUP.pack(*lookup) for lookup in lookups])


def lookups_of(connection: sqlite3.Connection, run: int) -> Iterator[Lookup]:
    """All look-ups of a run, the oldest first."""
    rows = connection.execute("SELECT packed FROM lookups WHERE run = ? ORDER BY id", (run,))
    for (packed,) in rows:
        for values in _LOOKUP.iter_unpack(packed):
            yield Lookup(*values)
