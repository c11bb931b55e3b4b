"""Groups the misses of a run by their root cause.

A file that differs may have been made by another process of the run, for example an archive of
requirements. Then the root causes are those of that process.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from reapi_local.explain.causes import Cause, Kind
from reapi_local.explain.verdict import Verdict

Output = tuple[str, str]
"""The span of the process that made it, and the path of the output file or directory."""


@dataclass(frozen=True)
class Makers:
    """What the processes of a run made.

    ``files``: from the digest of a file, ``HASH/SIZE``, to all outputs that have it. ``paths``:
    from the span of a process to the paths of its outputs.
    """

    files: Mapping[str, Sequence[Output]] = field(default_factory=dict)
    paths: Mapping[str, Sequence[str]] = field(default_factory=dict)


_FROM_FILES = (Kind.FILE_ADDED, Kind.FILE_CHANGED, Kind.FILE_RENAMED)
_OF_FILES = (*_FROM_FILES, Kind.FILE_REMOVED, Kind.MODE, Kind.LINK)
_SCRIPT: Final = re.compile(r"_\w*shim\.sh$")
"""How a script is called that Pants writes for an archive of Python code, after the archive."""


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
        this = waiting.pop()
        made_by = {cause: _maker(cause, this, by_name, makers) for cause in this.causes}
        outputs = [path for one in made_by.values() if one for path in makers.paths.get(one, ())]
        for cause, maker in made_by.items():
            if maker is not None and maker not in seen:
                seen.add(maker)
                waiting.append(by_name[maker])
            elif maker is None and not _is_part_of(cause, outputs):
                found[_named(cause, this, verdict)] = None
    return tuple(found) or (Cause(Kind.UNKNOWN),)


def _maker(
    cause: Cause, verdict: Verdict, by_name: Mapping[str, Verdict], makers: Makers
) -> str | None:
    """The process that made the file and ran, too; None if it came from elsewhere.

    Several processes can make equal files. So the path counts, unless only one is left.
    """
    if cause.kind not in _FROM_FILES:
        return None
    process = verdict.process
    before = [
        (span, path)
        for span, path in makers.files.get(cause.after or "", ())
        if span in by_name
        and span != process.name
        and by_name[span].process.origin.started_at <= process.origin.started_at
        and not _takes(by_name[span], cause)
    ]
    exact = [span for span, path in before if _is_below(cause.name, path)]
    left = exact or [span for span, _ in before]
    return left[0] if exact or len({*left}) == 1 else None


def _takes(verdict: Verdict, cause: Cause) -> bool:
    """Whether the process got the file as it is, such as a formatter that changed nothing."""
    return any((one.name, one.after) == (cause.name, cause.after) for one in verdict.causes)


def _is_part_of(cause: Cause, outputs: Iterable[str]) -> bool:
    """Whether it is about an output of a process, or a script that follows from it."""
    return cause.kind in _OF_FILES and any(
        _is_below(cause.name, path)
        or (cause.name.startswith(path) and _SCRIPT.fullmatch(cause.name[len(path) :]))
        for path in outputs
    )


def _is_below(path: str, output: str) -> bool:
    return path == output or not output or path.startswith(f"{output}/")


def _named(cause: Cause, of: Verdict, asked: Verdict) -> Cause:
    """With the process that it is about, if that is another one than the one asked about."""
    if cause.kind is not Kind.FIRST_TIME or of is asked:
        return cause
    return replace(cause, name=of.process.description)
