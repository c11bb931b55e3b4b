"""The largest values that settings may have, the default port, and how numbers are read.

The launcher refuses what the server would refuse, by the same rule, before it starts one.
"""

from __future__ import annotations

import re

MAX_PORT = 65535
"""Port 0 leaves the choice to the server."""

DEFAULT_PORT = 8980
"""The port for gRPC if it is free, unless a port is set or an earlier start used another one."""

MAX_SLOTS = 1024
"""The most actions that may run at once; 0 asks for one per core."""

MAX_SECONDS = 1e9
"""About 31 years: any longer time means "never", and 0 says that better."""

_WHOLE = re.compile(r"[0-9]{1,15}")


def parse_whole(text: str, maximum: int) -> int:
    """The whole number from 0 to `maximum` in `text`.

    Raises:
        ValueError: with a sentence for people, for anything else.
    """
    if not _WHOLE.fullmatch(text) or int(text) > maximum:
        raise ValueError(f"{text!r} must be a whole number from 0 to {maximum}")
    return int(text)


def parse_seconds(text: str) -> float:
    """The number of seconds from 0 to `MAX_SECONDS` in `text`, like 1.5.

    Raises:
        ValueError: with a sentence for people, for anything else.
    """
    try:
        seconds = float(text)
    except ValueError:
        seconds = -1.0
    if not 0 <= seconds <= MAX_SECONDS:  # NaN fails this too
        raise ValueError(f"{text!r} must be a number of seconds from 0 to {MAX_SECONDS:.0f}")
    return seconds
