"""Groups the misses of a run by their root cause.

A file that differs may have been made by another process of the run, for example an archive of
requirements. Then the root causes are those of that process.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from reapi_local.explain.causes import Cause, Kind
from reapi_local.explain.verdict import Verdict

Makers = Mapping[str, str]
"""From the digest of a file, ``HASH/SIZE``, to the name of the process of the run that made it."""

_FROM_FILES = (Kind.FILE_ADDED, Kind.FILE_CHANGED, Kind.FILE_RENAMED)


@dataclass(frozen=True)
class Group:
    """Misses with the same root causes; ``milliseconds`` is what they ran together."""

    causes: tuple[Cause, ...]
    verdicts: tuple[Verdict, ...]

    @property
    def milliseconds(self) -> int:
        return sum(verdict.process.milliseconds for verdict in self.verdicts)


def grouped(verdicts: Sequence[Verdict], makers: Makers) -> list[Group]:
    """The groups, the one that cost most first."""
    by_name = {verdict.process.name: verdict for verdict in verdicts}
    groups: dict[frozenset[Cause], tuple[tuple[Cause, ...], list[Verdict]]] = {}
    for verdict in verdicts:
        causes = roots(verdict, by_name, makers)
        groups.setdefault(frozenset(causes), (causes, []))[1].append(verdict)
    found = [Group(causes, tuple(members)) for causes, members in groups.values()]
    return sorted(found, key=lambda group: -group.milliseconds)


def roots(verdict: Verdict, by_name: Mapping[str, Verdict], makers: Makers) -> tuple[Cause, ...]:
    """The causes of a miss, those of the processes that made its files in place of these files."""
    found: dict[Cause, None] = {}
    seen = {verdict.process.name}
    waiting = [verdict]
    while waiting:
        for cause in waiting.pop().causes:
            maker = makers.get(cause.after or "") if cause.kind in _FROM_FILES else None
            if maker is None or maker not in by_name:
                found[cause] = None
            elif maker not in seen:
                seen.add(maker)
                waiting.append(by_name[maker])
    return _without_side_effects(found)


def _without_side_effects(causes: Iterable[Cause]) -> tuple[Cause, ...]:
    """A release of the client alone explains nothing, but it explains how its own tools differ."""
    listed = tuple(causes)
    return listed or (Cause(Kind.UNKNOWN),)
