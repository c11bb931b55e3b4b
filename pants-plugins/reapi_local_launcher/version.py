"""Version labels, `RELEASE` or `RELEASE+src.FINGERPRINT`, and whether one replaces another."""

from __future__ import annotations

import enum
import re

_RELEASE = re.compile(r"v?(\d+(?:\.\d+)*)[-_.]?(dev|a|b|rc|post)?(\d*)")
_PHASES = {"dev": -4, "a": -3, "b": -2, "rc": -1, "": 0, "post": 1}


class Verdict(enum.Enum):
    """What to do with a running server, compared with the one that would be started."""

    KEEP = "keep"
    REPLACE = "replace"
    NEWER = "newer"


def judge(running: str, ours: str) -> Verdict:
    """Keep a newer release; replace an older one, and another source of the same release."""
    running_order, our_order = _order(running), _order(ours)
    if running_order > our_order:
        return Verdict.NEWER
    return Verdict.KEEP if running == ours else Verdict.REPLACE


def _order(label: str) -> tuple[tuple[int, ...], int, int]:
    match = _RELEASE.match(label)
    if match is None:
        return ((), 0, 0)
    numbers = [int(part) for part in match.group(1).split(".")]
    while numbers and numbers[-1] == 0:
        numbers.pop()
    return (tuple(numbers), _PHASES[match.group(2) or ""], int(match.group(3) or 0))
