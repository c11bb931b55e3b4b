"""Records as JSON objects: what is not known is ignored, what is missing gets its default.

So that a launcher reads the answers of an older server and of a newer one.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import MISSING, asdict, fields
from typing import Any, TypeVar

_R = TypeVar("_R")


def to_json(record: Any) -> dict[str, Any]:
    """A frozen dataclass, and those within it, as a JSON object."""
    return asdict(record)


def from_json(kind: type[_R], raw: object) -> _R:
    """A record of a kind whose fields have all defaults: each value that has its default's type.

    A float may come as a whole number, a tuple of strings comes as a list. Anything else than an
    object makes the record of all defaults.
    """
    given = raw if isinstance(raw, Mapping) else {}
    values: dict[str, Any] = {}
    for field in fields(kind):  # type: ignore[arg-type]  # any dataclass
        default = field.default
        if default is MISSING:
            raise TypeError(f"{kind.__name__}.{field.name} has no default")
        values[field.name] = _fitting(given.get(field.name), default)
    return kind(**values)


def _fitting(value: object, default: Any) -> Any:
    if isinstance(default, bool) or not isinstance(default, (int, float, str, tuple)):
        return value if type(value) is type(default) else default
    if isinstance(default, tuple):
        return tuple(map(str, value)) if isinstance(value, (list, tuple)) else default
    if isinstance(value, bool):
        return default
    if isinstance(default, float):
        return float(value) if isinstance(value, (int, float)) else default
    return value if isinstance(value, type(default)) else default
