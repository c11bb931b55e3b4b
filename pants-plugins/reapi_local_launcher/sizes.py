"""Sizes in bytes as people write them: 20GiB, 500MB, 1048576."""

from __future__ import annotations

import re

_UNITS = ("B", "KiB", "MiB", "GiB", "TiB")
_FACTORS = {"": 1, "b": 1}
_FACTORS.update({f"{letter}ib": 1024**power for power, letter in enumerate("kmgt", 1)})
_FACTORS.update({f"{letter}b": 1000**power for power, letter in enumerate("kmgt", 1)})
_FACTORS.update({letter: 1000**power for power, letter in enumerate("kmgt", 1)})
_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*([a-z]*)", re.IGNORECASE)


def parse_size(text: str) -> int:
    """Bytes in `text`: a number, or one with kB … TB (powers of 1000) or KiB … TiB (of 1024).

    Raises ValueError, with a message for people, for anything else and for sizes below one byte.
    """
    match = _SIZE.fullmatch(text.strip())
    factor = _FACTORS.get(match.group(2).lower()) if match else None
    size = int(float(match.group(1)) * factor) if match and factor else 0
    if size < 1:
        raise ValueError(f"{text!r} is not a size; write it like 20GiB, 500MB or 1048576")
    return size


def format_size(size_bytes: float) -> str:
    """`size_bytes` in the largest unit that keeps it at 1 or more: 512 B, 1.5 GiB."""
    size = float(size_bytes)
    for unit in _UNITS:
        if size < 1024 or unit == _UNITS[-1]:
            return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1024
    raise AssertionError("unreachable")
