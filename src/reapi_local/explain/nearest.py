"""Which earlier process to compare a miss with: the one that differs least."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Final

from reapi_local.explain.compare import differences
from reapi_local.explain.process import Process

_MOST_COMPARED: Final = 20
_VOLATILE: Final = re.compile(r"[0-9a-f]{8,}|[0-9]+")
"""Hashes, versions and other numbers: they change while the process stays the same one."""


def shape(process: Process) -> tuple[str, ...]:
    """What stays equal when a process is changed: for clients that describe none of theirs."""
    definition = process.definition
    program = definition.arguments[0] if definition.arguments else ""
    outputs = (*definition.output_files, *definition.output_directories)
    return tuple(_VOLATILE.sub("#", text) for text in (program.rpartition("/")[2], *outputs))


def nearest(process: Process, earlier: Iterable[Process]) -> Process | None:
    """The process to compare with; None if none of the earlier ones is of the same kind.

    Those with the same description are preferred, then those of the same instance and machine,
    then the ones with the fewest differences, then the latest.
    """
    candidates = _alike(process, list(earlier))
    candidates.sort(key=lambda other: _distance_of_origin(process, other))
    recent = candidates[:_MOST_COMPARED]
    return min(recent, key=lambda other: _distance(process, other), default=None)


def _alike(process: Process, earlier: Sequence[Process]) -> list[Process]:
    described = [p for p in earlier if p.description and p.description == process.description]
    if described:
        return described
    wanted = shape(process)
    return [other for other in earlier if shape(other) == wanted]


def _distance_of_origin(process: Process, other: Process) -> tuple[bool, bool, float]:
    here, there = process.origin, other.origin
    return here.instance != there.instance, here.machine != there.machine, -there.started_at


def _distance(process: Process, other: Process) -> tuple[int, bool, bool]:
    """Fewer differences are nearer; of equals ``min`` takes the first, which is the latest."""
    known = len(differences(other.definition, process.definition))
    moved = other.definition.input_root != process.definition.input_root
    elsewhere = other.origin.instance != process.origin.instance
    return known + moved, elsewhere, other.exit_code != process.exit_code and other.exit_code != 0
