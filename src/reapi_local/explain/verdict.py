"""Why one process ran: what the cache did, or what differs from the time before."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from reapi_local.explain.causes import Cause, Kind, date
from reapi_local.explain.compare import differences, of_runs, same_key
from reapi_local.explain.file_changes import Load, file_changes
from reapi_local.explain.nearest import nearest
from reapi_local.explain.process import KEPT_BY_CACHE, Process
from reapi_local.protocol.lookup import MissReason


@dataclass(frozen=True)
class CacheFacts:
    """What the cache knows of the action of a miss.

    ``was_hit``: the look-up was a hit, but the process ran all the same. ``reason``, ``missing``:
    why it was a miss; None if it isn't known. ``written_at``: when an entry for it was written, 0 =
    never. ``evicted_at``: when the last eviction from then to the look-up was, 0 = none is known.
    """

    reason: MissReason | None = None
    missing: tuple[str, ...] = ()
    written_at: float = 0.0
    evicted_at: float = 0.0
    was_hit: bool = False


@dataclass(frozen=True)
class Verdict:
    """Why ``process`` ran. ``earlier``: the process that it was compared with.

    ``is_complete``: False if more files differ than are named.
    """

    process: Process
    causes: tuple[Cause, ...]
    earlier: Process | None = None
    is_complete: bool = True


def why(process: Process, earlier: Sequence[Process], facts: CacheFacts, load: Load) -> Verdict:
    """Explain a process that ran.

    ``earlier``: processes that may be the same one, of earlier runs. ``load``: reads Directories.
    """
    off = _not_asked(process)
    if off is not None:
        return Verdict(process, (off,))
    if facts.was_hit:
        return Verdict(process, (Cause(Kind.FASTER_HERE),))
    equal = [p for p in earlier if same_key(p.definition, process.definition)]
    if equal:
        return _of_equals(process, equal, facts)
    if (damage := _damage(facts)) is not None:
        return Verdict(process, (damage,))
    if facts.written_at:
        return Verdict(process, (_evicted(facts),))
    other = nearest(process, earlier)
    if other is None:
        return Verdict(process, (Cause(Kind.FIRST_TIME),))
    return _compared(process, other, load)


def _not_asked(process: Process) -> Cause | None:
    if process.scope not in KEPT_BY_CACHE:
        return Cause(Kind.NEVER_CACHED, process.scope)
    if not process.origin.reads:
        return Cause(Kind.READING_OFF)
    return None


def _of_equals(process: Process, equal: Sequence[Process], facts: CacheFacts) -> Verdict:
    """There was a process with the same key, so its entry is missing."""
    here = [p for p in equal if p.origin.instance == process.origin.instance]
    latest = max(here or equal, key=lambda other: other.origin.started_at)
    if (damage := _damage(facts)) is not None:
        return Verdict(process, (damage,), latest)
    if not here:
        cause = Cause(Kind.OTHER_INSTANCE, latest.origin.instance)
    elif facts.written_at or any(not p.ran for p in here):
        cause = _evicted(facts)
    elif latest.exit_code:
        cause = Cause(Kind.FAILED_BEFORE)
    else:
        cause = Cause(Kind.NOT_WRITTEN, "", _why_not_written(here))
    return Verdict(process, (cause,), latest)


def _damage(facts: CacheFacts) -> Cause | None:
    if facts.reason is MissReason.INCOMPLETE:
        return Cause(Kind.INCOMPLETE, facts.missing[0] if facts.missing else "")
    if facts.reason is MissReason.CORRUPT:
        return Cause(Kind.CORRUPT)
    return None


def _evicted(facts: CacheFacts) -> Cause:
    return Cause(Kind.EVICTED, "", date(facts.evicted_at) if facts.evicted_at else None)


def _why_not_written(equal: Iterable[Process]) -> str | None:
    if not any(process.origin.writes for process in equal):
        return "writing was switched off"
    return None


def _compared(process: Process, other: Process, load: Load) -> Verdict:
    before, after = other.definition, process.definition
    causes = [*differences(before, after)]
    is_complete = True
    if before.input_root != after.input_root:
        if before.input_root is None or after.input_root is None:
            causes.append(Cause(Kind.INPUTS))
        else:
            changes = file_changes(before.input_root, after.input_root, load)
            causes += changes.causes
            is_complete = changes.is_complete
    causes += of_runs(other.origin, process.origin)
    return Verdict(process, tuple(causes) or (Cause(Kind.UNKNOWN),), other, is_complete)
