"""The outcome of a replay, as text for people or as JSON for programs."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator
from typing import Any

from reapi_contract.printable import printable
from reapi_local.client.replay import Compared

_WIDTH = 80


def report_lines(done: Compared) -> Iterator[str]:
    """What is equal and what is not, in lines of at most 80 columns; digests stay whole."""
    earlier = "the cached result" if done.cached else "the first run"
    before, now = done.seconds
    if not done.unlike:
        yield from _wrapped(
            f"The new result is equal to {earlier}: exit code {done.exit_code}, and each of "
            f"{done.count} outputs, byte by byte."
        )
    else:
        count = len(done.unlike)
        yield from _wrapped(
            f"The new result differs from {earlier} in {count} of {done.count} outputs."
        )
        for one in done.unlike:
            yield printable(one.name)
            for mark, value in (("-", one.a), ("+", one.b)):
                if value:
                    yield f"  {mark} {printable(value)}"
            if one.why:
                yield from _wrapped(f"  {printable(one.why)}")
    if before and now:
        yield f"The process took {now:.3g} s; earlier it took {before:.3g} s."


def report_json(action: str, done: Compared) -> dict[str, Any]:
    return {
        "action": action,
        "equal": not done.unlike,
        "compared_with": "cached result" if done.cached else "first run",
        "outputs": done.count,
        "exit_code": done.exit_code,
        "seconds": done.seconds[1],
        "earlier_seconds": done.seconds[0],
        "unlike": [
            {"name": one.name, "a": one.a, "b": one.b, "why": one.why} for one in done.unlike
        ],
    }


def _wrapped(text: str) -> list[str]:
    indent = " " * (len(text) - len(text.lstrip()))
    return textwrap.wrap(
        text.strip(), _WIDTH, initial_indent=indent, subsequent_indent=indent,
        break_long_words=False, break_on_hyphens=False,
    )  # fmt: skip
