"""The causes of a miss, as values, and in plain words."""

from __future__ import annotations

import time
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from reapi_contract.masks import is_masked


class Kind(StrEnum):
    """What kind of thing is the cause. ``Cause.name`` is the path, the variable, …"""

    FILE_ADDED = "file-added"
    FILE_REMOVED = "file-removed"
    FILE_CHANGED = "file-changed"
    FILE_RENAMED = "file-renamed"
    MODE = "mode"
    LINK = "link"
    INPUTS = "inputs"
    """Input files differ, but which ones can't be told: ``name`` is the directory, or ""."""
    VARIABLE = "variable"
    ARGUMENT = "argument"
    PROGRAM = "program"
    WORKING_DIRECTORY = "working-directory"
    PLATFORM = "platform"
    TIMEOUT = "timeout"
    OUTPUTS = "outputs"
    CACHES = "caches"
    PLACE = "place"
    SALT = "salt"
    TOOL = "tool"
    PLUGIN = "plugin"
    NEVER_CACHED = "never-cached"
    READING_OFF = "reading-off"
    FASTER_HERE = "faster-here"
    FAILED_BEFORE = "failed-before"
    EVICTED = "evicted"
    INCOMPLETE = "incomplete"
    CORRUPT = "corrupt"
    NOT_WRITTEN = "not-written"
    OTHER_INSTANCE = "other-instance"
    FIRST_TIME = "first-time"
    UNKNOWN = "unknown"


@dataclass(frozen=True)
class Cause:
    """``before`` and ``after``: the two values; None = there is none on that side.

    For files they are digests, for a renamed file ``before`` is the old path. For the state of the
    cache ``before`` is what is known of it, such as a date.
    """

    kind: Kind
    name: str = ""
    before: str | None = None
    after: str | None = None

    def __str__(self) -> str:
        return sentence(self)


_ABOUT_FILES: Final = {
    Kind.FILE_ADDED: "{name} is new",
    Kind.FILE_REMOVED: "{name} is gone",
    Kind.FILE_CHANGED: "{name} changed",
    Kind.FILE_RENAMED: "{before} is now {name}",
}
_FIXED: Final = {
    Kind.READING_OFF: "reading the remote cache was switched off",
    Kind.FASTER_HERE: "the cache had it, but it ended here before that answer came",
    Kind.FAILED_BEFORE: "it failed before, and failures are not cached",
    Kind.CORRUPT: "its cache entry was damaged and was removed",
    Kind.UNKNOWN: "nothing that is known of it differs from the time before",
}
_ABOUT_RUNS: Final = {
    Kind.PLACE: "it runs {after} now, and before it ran {before}",
    Kind.TOOL: "the client is {after}, and was {before}",
    Kind.PLUGIN: "the plugin is {after}, and was {before}",
}
_MOST_SHOWN: Final = 60


def sentence(cause: Cause) -> str:
    """One cause in plain words, without a full stop. It may be longer than a line."""
    kind, name = cause.kind, cause.name
    if kind is Kind.FIRST_TIME:
        return f"{f'“{name}”' if name else 'it'} was never seen before"
    if kind in _FIXED:
        return _FIXED[kind]
    if kind in _ABOUT_FILES:
        return _ABOUT_FILES[kind].format(name=name, before=cause.before)
    if kind in _ABOUT_RUNS:
        before, after = cause.before or "unknown", cause.after or "unknown"
        return _ABOUT_RUNS[kind].format(before=before, after=after)
    if kind is Kind.VARIABLE:
        return _about_variable(cause)
    return _about_command(cause) or _about_the_rest(cause)


def _about_command(cause: Cause) -> str:
    kind, name, before, after = cause.kind, cause.name, cause.before, cause.after
    if kind is Kind.ARGUMENT:
        return _changed("the argument", before, after)
    if kind is Kind.PROGRAM:
        return f"the program is {_shown(after)}, and was {_shown(before)}"
    if kind is Kind.PLATFORM:
        return _changed(f"the platform property {name}", before, after)
    if kind is Kind.TIMEOUT:
        return f"its timeout is {_seconds(after)}, and was {_seconds(before)}"
    if kind is Kind.WORKING_DIRECTORY:
        return f"its working directory is {_shown(after)}, and was {_shown(before)}"
    if kind is Kind.OUTPUTS:
        return _changed("the output", before, after)
    if kind is Kind.CACHES:
        return _changed(f"the named cache {name}", before, after)
    if kind is Kind.SALT:
        return "the cache's salt changed"
    return ""


def _about_the_rest(cause: Cause) -> str:
    kind, name, before = cause.kind, cause.name, cause.before
    if kind is Kind.MODE:
        return f"{name} is {'now' if cause.after == 'executable' else 'no longer'} executable"
    if kind is Kind.LINK:
        return f"the link {name} leads to {_shown(cause.after)}, and led to {_shown(before)}"
    if kind is Kind.INPUTS:
        where = f"in {name}" if name else "among its inputs"
        return f"files {where} differ, but the server doesn't have what it needs to name them"
    if kind is Kind.NEVER_CACHED:
        return f"Pants never asks for it, because its cache scope is {name}"
    if kind is Kind.EVICTED:
        if before is None:
            return "its cache entry is gone: it was evicted, or the store was purged"
        return f"its cache entry was evicted on {before}"
    if kind is Kind.INCOMPLETE:
        return f"its cache entry was incomplete: blob {name} was missing"
    if kind is Kind.NOT_WRITTEN:
        return f"it ran before, but its result was not written{f': {before}' if before else ''}"
    assert kind is Kind.OTHER_INSTANCE
    return f"its result is in another instance, {name}"


def _about_variable(cause: Cause) -> str:
    name, before, after = cause.name, cause.before, cause.after
    if any(value is not None and is_masked(value) for value in (before, after)):
        if before is None or after is None:
            return f"the variable {name} is {'new' if before is None else 'gone'}"
        return f"the variable {name} changed; its values are secret"
    if name == "PATH" and before is not None and after is not None:
        return _about_path(before, after)
    return _changed(f"the variable {name}", before, after)


def _about_path(before: str, after: str) -> str:
    old, new = before.split(":"), after.split(":")
    added = [directory for directory in new if directory not in old]
    removed = [directory for directory in old if directory not in new]
    if added and new[0] == added[0]:
        return f"PATH has {_shown(added[0])} first"
    if added or removed:
        parts = [f"has {_shown(added[0])} in addition"] if added else []
        parts += [f"lacks {_shown(removed[0])}"] if removed else []
        return f"PATH {' and '.join(parts)}"
    return "PATH has its directories in another order"


def _changed(what: str, before: str | None, after: str | None) -> str:
    if before is None:
        return f"{what} {_shown(after)} is new"
    if after is None:
        return f"{what} {_shown(before)} is gone"
    return f"{what} is {_shown(after)}, and was {_shown(before)}"


def _shown(value: str | None) -> str:
    text = repr(value) if value is not None and not value.isprintable() else value
    if not text:
        return "empty"
    return text if len(text) <= _MOST_SHOWN else f"{text[: _MOST_SHOWN - 1]}…"


def _seconds(milliseconds: str | None) -> str:
    if not milliseconds or milliseconds == "0":
        return "none"
    return f"{int(milliseconds) / 1000:g} s"


def date(seconds: float) -> str:
    """A time since the epoch as a person on this machine reads it."""
    return time.strftime("%Y-%m-%d %H:%M", time.localtime(seconds))
