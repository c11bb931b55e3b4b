"""Causes that hold in run after run, so that a process never is a hit."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from reapi_local.explain.causes import Cause, Kind
from reapi_local.explain.verdict import Verdict

_RUNS: Final = 3
"""A cause is one of every run if it was in that many runs in a row."""
_CAN_RECUR: Final = (Kind.VARIABLE, Kind.ARGUMENT, Kind.FILE_CHANGED, Kind.TIMEOUT, Kind.SALT)


@dataclass(frozen=True)
class Recurring:
    """A variable, file or argument that differs in every run; ``remedy``: what to change."""

    cause: Cause
    description: str
    runs: int

    @property
    def remedy(self) -> str:
        if self.cause.kind is Kind.VARIABLE:
            return (
                f"take {self.cause.name} out of the option that passes it on, such as "
                "extra_env_vars of the test, or give it the same value each time"
            )
        if self.cause.kind is Kind.FILE_CHANGED:
            return f"leave {self.cause.name} out of its dependencies, or stop rewriting it"
        if self.cause.kind is Kind.ARGUMENT:
            return "take the argument out of the options of the tool"
        return "give it the same value each time"


def recurring(history: Sequence[Verdict]) -> list[Recurring]:
    """What differs in every one of the last verdicts about one process, the newest first."""
    if len(history) < _RUNS:
        return []
    newest, *older = history[:_RUNS]
    return [
        Recurring(cause, newest.process.description, _how_often(cause, history))
        for cause in newest.causes
        if cause.kind in _CAN_RECUR and all(_has(verdict, cause) for verdict in older)
    ]


def _how_often(cause: Cause, history: Sequence[Verdict]) -> int:
    for runs, verdict in enumerate(history):
        if not _has(verdict, cause):
            return runs
    return len(history)


def _has(verdict: Verdict, cause: Cause) -> bool:
    """Whether the same thing differed there, with whatever values."""
    return any((c.kind, c.name) == (cause.kind, cause.name) for c in verdict.causes)
