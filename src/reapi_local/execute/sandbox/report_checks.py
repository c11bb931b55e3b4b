"""Checks what a sandbox reports, because an action could have got hold of the sender."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Any, Final, TypeAlias

Check: TypeAlias = Callable[[Any], bool]
"""Whether a value is one that a field may have."""

MAX_REPORT_BYTES: Final = 1024 * 1024
"""A report is shorter, also if it quotes a long PATH."""

_MAX_COUNT: Final = 1 << 62
_MAX_SECONDS: Final = 1e9


def check_report(report: object, checks: Mapping[str, Check]) -> None:
    """Raise ValueError unless the report is an object whose fields all pass their checks."""
    if not isinstance(report, dict):
        raise ValueError("it isn't an object")
    for name, is_valid in checks.items():
        if name not in report or not is_valid(report[name]):
            raise ValueError(f"{name} is {report.get(name)!r:.100}")


def is_count(value: Any) -> bool:
    """Whether it is an integer that fits all fields of messages. Nanoseconds do until 2116."""
    return type(value) is int and 0 <= value < _MAX_COUNT


def is_seconds(value: Any) -> bool:
    return type(value) in (int, float) and 0 <= value <= _MAX_SECONDS


def is_flag(value: Any) -> bool:
    return type(value) is bool


def is_text(value: Any) -> bool:
    """Whether it is a text that can be encoded: JSON also has lone surrogates."""
    if not isinstance(value, str):
        return False
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


def are_names_of(known: Collection[str]) -> Check:
    """Whether it is a list of names, all of which are known."""
    return lambda value: (
        isinstance(value, list) and all(isinstance(name, str) and name in known for name in value)
    )


USAGE_CHECKS: Final[Mapping[str, Check]] = {
    "stopped": is_flag,
    "started_ns": is_count,
    "ended_ns": is_count,
    "user_seconds": is_seconds,
    "system_seconds": is_seconds,
    "max_rss_bytes": is_count,
}
"""The fields that reports of all sandboxes have."""
