"""What differs between two actions, apart from their input roots. Pure functions."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from difflib import SequenceMatcher

from reapi_contract.inspection import ActionFields, ArgumentChange, Change, CommandFields


def argument_changes(a: Sequence[str], b: Sequence[str]) -> tuple[ArgumentChange, ...]:
    """Where the arguments differ. Positions are those in ``a``."""
    matcher = SequenceMatcher(None, a, b, autojunk=False)
    return tuple(
        ArgumentChange(a_from, tuple(a[a_from:a_to]), tuple(b[b_from:b_to]))
        for tag, a_from, a_to, b_from, b_to in matcher.get_opcodes()
        if tag != "equal"
    )


def pair_changes(a: Iterable[str], b: Iterable[str]) -> tuple[Change, ...]:
    """Which names have other values, of lists of NAME=VALUE. Repeated names are joined."""
    left, right = _by_name(a), _by_name(b)
    return tuple(
        Change(name, left.get(name), right.get(name))
        for name in sorted({*left, *right})
        if left.get(name) != right.get(name)
    )


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
