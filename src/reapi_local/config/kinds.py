"""How values of each kind are written, in a flag, a variable, the file or a default.

msgspec checks types and bounds. A kind adds what msgspec can't know: that ``20GiB`` is a size, that
a path may begin with ``~``, and how a message says what is allowed.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any, Final, TypeVar

from msgspec import Struct

from reapi_contract.sizes import parse_size

_V = TypeVar("_V")


def _unchanged(value: _V) -> _V:
    return value


class Kind(Struct, frozen=True):
    """How the values of a setting are written.

    ``placeholder`` stands for a value in the help. ``allowed`` completes "must be …"; it may name
    the bounds ``{low}`` and ``{high}``. ``show`` formats a value for people.

    ``prepare`` converts the given value for msgspec's check, and raises ValueError if it can't.
    ``finish`` converts the checked value; the message of its ValueError is shown unchanged.
    """

    placeholder: str
    allowed: str
    prepare: Callable[[Any], Any] = _unchanged
    finish: Callable[[Any], Any] = _unchanged
    show: Callable[[Any], str] = str


def one_of(*choices: str) -> Kind:
    """A kind whose values are these words."""

    def chosen(value: Any) -> Any:
        if value not in choices:
            raise ValueError
        return value

    return Kind(f"{{{','.join(choices)}}}", f"one of {', '.join(choices)}", prepare=chosen)


def exact_size(size_bytes: int) -> str:
    """A size in the largest unit that needs no fraction: 20GiB, 1000001."""
    for power, unit in ((4, "TiB"), (3, "GiB"), (2, "MiB"), (1, "KiB")):
        if size_bytes and size_bytes % 1024**power == 0:
            return f"{size_bytes // 1024**power}{unit}"
    return str(size_bytes)


def _bytes(value: Any) -> int:
    return parse_size(str(value))


def _split(value: Any) -> Any:
    return value.split(",") if isinstance(value, str) else value


def _checked_names(names: tuple[str, ...]) -> tuple[str, ...]:
    # Imported late, because it imports protobuf: --help and wrong options are answered at once.
    from reapi_local.errors import InvalidRequest
    from reapi_local.protocol.instance import check_instance_name

    try:
        return tuple(map(check_instance_name, names))
    except InvalidRequest as error:
        raise ValueError(str(error)) from None


def _absolute(path: str) -> str:
    try:
        return os.path.abspath(os.path.expanduser(path))
    except OSError as error:  # a relative path, and the working directory was deleted
        raise ValueError(f"{path!r} can't be made absolute: {error}") from None


def _split_paths(value: Any) -> Any:
    return value.split(os.pathsep) if isinstance(value, str) else value


def _existing(paths: tuple[str, ...]) -> tuple[str, ...]:
    found = []
    for path in paths:
        expanded = os.path.expanduser(path)
        if not os.path.isabs(expanded):
            raise ValueError(f"{path!r} isn't an absolute path, and doesn't begin with ~")
        if not os.path.exists(expanded):
            raise ValueError(f"{path!r} doesn't exist; create it, or leave it out")
        found.append(os.path.normpath(expanded))
    return tuple(found)


def _short_number(number: float) -> str:
    return f"{number:g}".replace("e+0", "e")


def _true_or_false(switch: bool) -> str:
    return "true" if switch else "false"


SIZE: Final = Kind("SIZE", "a size between {low} and {high}", prepare=_bytes, show=exact_size)
SECONDS: Final = Kind("SECONDS", "between {low} and {high} seconds", show=_short_number)
COUNT: Final = Kind("N", "a whole number between {low} and {high}")
SWITCH: Final = Kind("", "true or false", show=_true_or_false)
ADDRESS: Final = Kind("ADDRESS", "a non-empty string")
DIRECTORY: Final = Kind("DIR", "a non-empty string", finish=_absolute)
FILE: Final = Kind("FILE", "a non-empty string", finish=_absolute)
PATHS: Final = Kind(
    "PATH",
    "a list of absolute paths",
    prepare=_split_paths,
    finish=_existing,
    show=os.pathsep.join,
)
"""In a variable, a colon is between paths."""
NAMES: Final = Kind(
    "NAME", "a list of instance names", prepare=_split, finish=_checked_names, show=",".join
)
