"""The causes that tell two definitions apart."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from typing import Final

from reapi_local.explain.causes import Cause, Kind
from reapi_local.explain.process import PANTS_KEY_PREFIX, SALT, Definition, Origin
from reapi_local.inspect.compare import changed_values, replaced_arguments

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
    for change in changed_values(before, after):
        yield Cause(kind, change.name, change.a, change.b)


def _outputs(before: Sequence[str], after: Sequence[str]) -> Iterator[Cause]:
    for path in sorted({*before} ^ {*after}):
        is_new = path not in before
        yield Cause(Kind.OUTPUTS, "", None if is_new else path, path if is_new else None)


def _arguments(before: Sequence[str], after: Sequence[str]) -> Iterator[Cause]:
    if before == after:
        return
    if before and after and before[0] != after[0]:
        yield Cause(Kind.PROGRAM, "", before[0], after[0])
    for _, old, new in replaced_arguments(before[1:], after[1:]):
        for index in range(max(len(old), len(new))):
            was = old[index] if index < len(old) else None
            now = new[index] if index < len(new) else None
            yield Cause(_kind(was, now), "", was, now)


def _kind(before: str | None, after: str | None) -> Kind:
    """Two absolute paths in one place are programs, such as interpreters."""
    return Kind.PROGRAM if _is_path(before) and _is_path(after) else Kind.ARGUMENT


def _is_path(argument: str | None) -> bool:
    """Of a program; the text of a command for a shell begins with one."""
    return argument is not None and argument.startswith("/") and " " not in argument


def _place(definition: Definition) -> str:
    return "on the server" if definition.is_remote else "on the client's machine"
