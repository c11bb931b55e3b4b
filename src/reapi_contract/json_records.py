"""Dataclasses as JSON objects, readable across releases.

A reader ignores fields that it does not know, and gives missing fields their defaults. So a
launcher can read the answers of an older and of a newer server.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import MISSING, asdict, fields
from typing import Any, TypeVar

_R = TypeVar("_R")


def to_json(record: Any) -> dict[str, Any]:
    """A dataclass as a JSON object, with the dataclasses within it."""
    return asdict(record)


def from_json(kind: type[_R], raw: object) -> _R:
    """A record from a JSON object. A field keeps its default unless the value has its type.

    A whole number is accepted for a float, a list of strings for a tuple, and an object of strings
    for a mapping, whose default is made by `dict`. Anything but an object gives the record of all
    defaults.

    Raises:
        TypeError: `kind` is a dataclass with a field that has no default.
    """
    given = raw if isinstance(raw, Mapping) else {}
    values: dict[str, Any] = {}
    for field in fields(kind):  # type: ignore[arg-type]  # any dataclass
        default: Any = {} if field.default_factory is dict else field.default
        if default is MISSING:
            raise TypeError(f"{kind.__name__}.{field.name} has no default")
        values[field.name] = _fitting(given.get(field.name), default)
    return kind(**values)


def _fitting(value: object, default: Any) -> Any:
    """The value as the default's type, or the default if it has another type."""
    if isinstance(default, tuple):
        return tuple(map(str, value)) if isinstance(value, (list, tuple)) else default
    if isinstance(default, dict):
        found = value if isinstance(value, Mapping) else {}
        return {str(name): str(text) for name, text in found.items()}
    if isinstance(default, float) and type(value) is int:
        return float(value)
    return value if type(value) is type(default) else default
