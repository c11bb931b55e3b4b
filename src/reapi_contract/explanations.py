"""Why the processes of a run were no hits: the answer to `EXPLANATIONS` of the admin interface."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Callable, TypeVar

from reapi_contract.admin_api import RunSummary
from reapi_contract.json_records import from_json, to_json

_R = TypeVar("_R")


@dataclass(frozen=True)
class CauseRecord:
    """One cause. `kind` and `name` are for programs, such as `variable` and `PATH`.

    `before` and `after`: the values that differ, for files their digests; "" where there is none.
    `text`: the cause in plain words, without a full stop.
    """

    kind: str = ""
    name: str = ""
    before: str = ""
    after: str = ""
    text: str = ""


@dataclass(frozen=True)
class Compared:
    """The earlier process with which one was compared."""

    run: str = ""
    instance: str = ""
    machine: str = ""
    started_at: float = 0.0
    description: str = ""
    action: str = ""


@dataclass(frozen=True)
class Explained:
    """A process that ran, and why. `milliseconds`: how long it ran.

    `compared`: the process that it was compared with, if there is one. `action`: its digest,
    "HASH/SIZE"; "" if it isn't known. `complete`: False if more differs than the causes name.
    `every_run`: a sentence if a cause comes back in run after run.
    """

    span: str = ""
    description: str = ""
    targets: tuple[str, ...] = ()
    milliseconds: int = 0
    action: str = ""
    causes: tuple[CauseRecord, ...] = ()
    compared: tuple[Compared, ...] = ()
    complete: bool = True
    every_run: str = ""


@dataclass(frozen=True)
class Group:
    """Processes with the same root causes; the one that cost most comes first."""

    causes: tuple[CauseRecord, ...] = ()
    spans: tuple[str, ...] = ()
    milliseconds: int = 0


@dataclass(frozen=True)
class Explanation:
    """One run: what it asked for, what it got, and why the rest ran.

    `notes`: sentences that say what can't be known, and what to do so that it can.
    """

    run: RunSummary = field(default_factory=RunSummary)
    explained: tuple[Explained, ...] = ()
    groups: tuple[Group, ...] = ()
    notes: tuple[str, ...] = ()


def explanation_json(explanation: Explanation) -> dict[str, Any]:
    """The JSON object."""
    return to_json(explanation)


def explanation_from(raw: Mapping[str, Any]) -> Explanation:
    """The record of a JSON object; missing parts have their defaults."""
    notes = raw.get("notes")
    return Explanation(
        from_json(RunSummary, raw.get("run")),
        _each(raw.get("explained"), _explained),
        _each(raw.get("groups"), _group),
        tuple(map(str, notes)) if isinstance(notes, (list, tuple)) else (),
    )


def _explained(raw: Mapping[str, Any]) -> Explained:
    return replace(
        from_json(Explained, {**raw, "causes": None, "compared": None}),
        causes=_each(raw.get("causes"), _cause),
        compared=_each(raw.get("compared"), _compared),
    )


def _group(raw: Mapping[str, Any]) -> Group:
    return replace(
        from_json(Group, {**raw, "causes": None}), causes=_each(raw.get("causes"), _cause)
    )


def _cause(raw: Mapping[str, Any]) -> CauseRecord:
    return from_json(CauseRecord, raw)


def _compared(raw: Mapping[str, Any]) -> Compared:
    return from_json(Compared, raw)


def _each(raw: object, make: Callable[[Mapping[str, Any]], _R]) -> tuple[_R, ...]:
    listed: Sequence[object] = raw if isinstance(raw, (list, tuple)) else ()
    return tuple(make(one) for one in listed if isinstance(one, Mapping))
