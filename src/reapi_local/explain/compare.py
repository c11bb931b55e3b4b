"""The causes that tell two definitions apart."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from difflib import SequenceMatcher
from itertools import islice, takewhile
from typing import Final

from reapi_local.explain.causes import Cause, Kind
from reapi_local.explain.process import PANTS_KEY_PREFIX, SALT, Definition, Origin

_MOST_PAIRS: Final = 10_000
"""Of arguments that differ: to find how they correspond takes up to a millisecond for a thousand
pairs. Beyond that only what is in one of the two alone is told."""
_MOST_CAUSES: Final = 1000


def same_key(one: Definition, other: Definition) -> bool:
    """Whether both have one cache entry, as far as is known."""
    return (
        one.input_root == other.input_root
        and one.arguments == other.arguments
        and next(_differences(one, other), None) is None
    )


def differences(before: Definition, after: Definition) -> tuple[Cause, ...]:
    """What differs, but for the input roots; each cause once, and at most 1,000 of them."""
    return tuple(dict.fromkeys(islice(_differences(before, after), _MOST_CAUSES)))


def of_runs(before: Origin, after: Origin) -> Iterator[Cause]:
    """What differs between the clients of two runs. Alone it is no cause of a miss."""
    if before.tool and after.tool and before.tool != after.tool:
        yield Cause(Kind.TOOL, "", before.tool, after.tool)
    if before.plugin and after.plugin and before.plugin != after.plugin:
        yield Cause(Kind.PLUGIN, "", before.plugin, after.plugin)


def _differences(before: Definition, after: Definition) -> Iterator[Cause]:
    if before.is_remote != after.is_remote:
        yield Cause(Kind.PLACE, "", _place(before), _place(after))
    yield from _arguments(before.arguments, after.arguments)
    yield from _environment(before.environment, after.environment)
    if before.working_directory != after.working_directory:
        yield Cause(Kind.WORKING_DIRECTORY, "", before.working_directory, after.working_directory)
    yield from _mappings(Kind.PLATFORM, before.platform, after.platform)
    yield from _mappings(Kind.CACHES, before.caches, after.caches)
    if before.timeout_ms != after.timeout_ms:
        yield Cause(Kind.TIMEOUT, "", str(before.timeout_ms), str(after.timeout_ms))
    for old, new in (
        (before.output_files, after.output_files),
        (before.output_directories, after.output_directories),
    ):
        yield from _outputs(old, new)


def _environment(before: Mapping[str, str], after: Mapping[str, str]) -> Iterator[Cause]:
    for cause in _mappings(Kind.VARIABLE, before, after):
        if cause.name == SALT:
            yield Cause(Kind.SALT, "", cause.before, cause.after)
        elif not cause.name.startswith(PANTS_KEY_PREFIX):
            yield cause


def _mappings(kind: Kind, before: Mapping[str, str], after: Mapping[str, str]) -> Iterator[Cause]:
    for name in sorted({*before, *after}):
        old, new = before.get(name), after.get(name)
        if old != new:
            yield Cause(kind, name, old, new)


def _outputs(before: Sequence[str], after: Sequence[str]) -> Iterator[Cause]:
    for path in sorted({*before} ^ {*after}):
        is_new = path not in before
        yield Cause(Kind.OUTPUTS, "", None if is_new else path, path if is_new else None)


def _arguments(before: Sequence[str], after: Sequence[str]) -> Iterator[Cause]:
    if before == after:
        return
    if before and after and before[0] != after[0]:
        yield Cause(Kind.PROGRAM, "", before[0], after[0])
    for old, new in _replaced(before[1:], after[1:]):
        for index in range(max(len(old), len(new))):
            was = old[index] if index < len(old) else None
            now = new[index] if index < len(new) else None
            yield Cause(_kind(was, now), "", was, now)


def _replaced(
    before: Sequence[str], after: Sequence[str]
) -> Iterator[tuple[Sequence[str], Sequence[str]]]:
    """The parts that differ, each with what is in its place."""
    start = _common(zip(before, after, strict=False))
    end = _common(zip(reversed(before[start:]), reversed(after[start:]), strict=False))
    old, new = before[start : len(before) - end], after[start : len(after) - end]
    if len(old) * len(new) > _MOST_PAIRS:
        yield _only_in_one(old, new) or (old, new)
        return
    for tag, old_from, old_to, new_from, new_to in SequenceMatcher(
        None, old, new, autojunk=False
    ).get_opcodes():
        if tag != "equal":
            yield old[old_from:old_to], new[new_from:new_to]


def _only_in_one(
    before: Sequence[str], after: Sequence[str]
) -> tuple[Sequence[str], Sequence[str]] | None:
    """What only one of them has; None if they differ in order and number alone."""
    old, new = {*before}, {*after}
    removed = [argument for argument in before if argument not in new]
    added = [argument for argument in after if argument not in old]
    return (removed, added) if removed or added else None


def _common(pairs: Iterable[tuple[str, str]]) -> int:
    """How many pairs at the beginning are equal."""
    return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], pairs))


def _kind(before: str | None, after: str | None) -> Kind:
    """Two absolute paths in one place are programs, such as interpreters."""
    if before and after and before.startswith("/") and after.startswith("/"):
        return Kind.PROGRAM
    return Kind.ARGUMENT


def _place(definition: Definition) -> str:
    return "on the server" if definition.is_remote else "on the client's machine"
