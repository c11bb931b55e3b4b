"""Sizes in bytes as people write them: 20GiB, 500MB, 1048576."""

from __future__ import annotations

import re

MIN_STORE_BYTES = 1024**2
"""The smallest limit of a store; less has no room for the store's index."""

MAX_BYTES = 4 * 1024**4
"""The largest size. A store maps several times its limit into memory, and the address space of
a process ends at 128 TiB."""

_UNITS = ("B", "KiB", "MiB", "GiB", "TiB")
_FACTORS = {"": 1, "b": 1}
for _power, _letter in enumerate("kmgt", 1):
    _FACTORS.update({_letter: 1000**_power, f"{_letter}b": 1000**_power})
    _FACTORS[f"{_letter}ib"] = 1024**_power
_SIZE = re.compile(r"(\d{1,20}(?:\.\d{1,20})?)\s*([a-z]*)", re.ASCII | re.IGNORECASE)


def parse_size(text: str, min_bytes: int = 0) -> int:
    """The bytes in `text`: a number, or one with KB … TB (powers of 1000) or KiB … TiB (of 1024).

    Raises:
        ValueError: with a sentence for people, if it is anything else, less than `min_bytes` or
            more than `MAX_BYTES`.
    """
    match = _SIZE.fullmatch(text.strip())
    factor = _FACTORS.get(match.group(2).lower()) if match else None
    if match is None or factor is None:
        raise ValueError(f"{text!r} isn't a size; write 20GiB, 500MB or a number of bytes")
    size = int(float(match.group(1)) * factor)
    if size < min_bytes:
        raise ValueError(f"{text!r} is too little; at least {format_size(min_bytes)}")
    if size > MAX_BYTES:
        raise ValueError(f"{text!r} is too much; at most {format_size(MAX_BYTES)}")
    return size


def parse_store_size(text: str) -> int:
    """The limit of a store, from `MIN_STORE_BYTES` to `MAX_BYTES`; else raises as `parse_size`."""
    return parse_size(text, MIN_STORE_BYTES)


def format_size(size_bytes: float) -> str:
    """`size_bytes` in the largest unit that keeps it at 1 or more: 512 B, 1.5 GiB."""
    size = float(size_bytes)
    for unit in _UNITS:
        if size < 1024 or unit == _UNITS[-1]:
            return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1024
    raise AssertionError("the last unit takes any size")
