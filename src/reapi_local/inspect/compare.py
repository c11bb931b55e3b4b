"""What differs between two commands, apart from their input roots. Pure functions."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from difflib import SequenceMatcher
from typing import Final, NamedTuple

from reapi_contract.inspection import ActionFields, ArgumentChange, Change, CommandFields

_MOST_PAIRS: Final = 10_000
"""Of arguments that differ. To find how these correspond takes some milliseconds at most."""


class Replaced(NamedTuple):
    """Arguments in place of others. ``at``: where they are in the first of the two commands."""

    at: int
    before: tuple[str, ...]
    after: tuple[str, ...]


def replaced_arguments(before: Sequence[str], after: Sequence[str]) -> Iterator[Replaced]:
    """The parts that differ, in order, each with what is in its place.

    Of parts that are too long to find out how they correspond, only what one of the two has alone.
    """
    start = _common(before, after)
    old, new = before[start:], after[start:]
    end = _common(old[::-1], new[::-1])
    old, new = old[: len(old) - end], new[: len(new) - end]
    if len(old) * len(new) > _MOST_PAIRS:
        yield _only_in_one(start, old, new)
        return
    matcher = SequenceMatcher(None, old, new, autojunk=False)
    for tag, old_from, old_to, new_from, new_to in matcher.get_opcodes():
        if tag != "equal":
            parts = tuple(old[old_from:old_to]), tuple(new[new_from:new_to])
            yield Replaced(start + old_from, *parts)


def _only_in_one(start: int, before: Sequence[str], after: Sequence[str]) -> Replaced:
    """What only one of them has; all of both if they differ in order and number alone."""
    of_before, of_after = {*before}, {*after}
    removed = tuple(argument for argument in before if argument not in of_after)
    added = tuple(argument for argument in after if argument not in of_before)
    if not removed and not added:
        return Replaced(start, tuple(before), tuple(after))
    return Replaced(start, removed, added)


def _common(before: Sequence[str], after: Sequence[str]) -> int:
    """How many arguments at the beginning are equal."""
    pairs = enumerate(zip(before, after, strict=False))
    return next((at for at, (old, new) in pairs if old != new), min(len(before), len(after)))


def changed_values(before: Mapping[str, str], after: Mapping[str, str]) -> Iterator[Change]:
    """The names that have other values, sorted."""
    for name in sorted({*before, *after}):
        old, new = before.get(name), after.get(name)
        if old != new:
            yield Change(name, old, new)


def argument_changes(a: Sequence[str], b: Sequence[str]) -> tuple[ArgumentChange, ...]:
    """Where the arguments differ. Positions are those in ``a``."""
    return tuple(ArgumentChange(*part) for part in replaced_arguments(a, b))


def pair_changes(a: Iterable[str], b: Iterable[str]) -> tuple[Change, ...]:
    """Which names have other values, of lists of NAME=VALUE. Repeated names are joined."""
    return tuple(changed_values(_by_name(a), _by_name(b)))


def _by_name(pairs: Iterable[str]) -> dict[str, str]:
    found: dict[str, str] = {}
    for pair in pairs:
        name, _, value = pair.partition("=")
        found[name] = f"{found[name]}, {value}" if name in found else value
    return found


def field_changes(
    a: tuple[ActionFields, CommandFields], b: tuple[ActionFields, CommandFields]
) -> tuple[Change, ...]:
    """The other fields that differ: timeout, working directory, outputs, salt, do_not_cache."""
    left, right = _fields(*a), _fields(*b)
    return tuple(
        Change(name, left[name], right[name]) for name in left if left[name] != right[name]
    )


def _fields(action: ActionFields, command: CommandFields) -> dict[str, str]:
    return {
        "timeout": f"{action.timeout_s:g} s" if action.timeout_s else "the server's",
        "working directory": command.working_directory or ".",
        "outputs": ", ".join(command.outputs),
        "do_not_cache": str(action.do_not_cache).lower(),
        "salt": action.salt,
    }
