"""Results, and how they are shown."""

from __future__ import annotations

import json
import os
import platform
import time
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import Literal

Unit = Literal["s", "bytes", "ratio"]


@dataclass(frozen=True)
class Result:
    """What was measured (a row), of what (a column).

    The median counts: it is to be at most ``bar``, or at least ``floor``.
    """

    what: str
    subject: str
    unit: Unit
    samples: Sequence[float]
    bar: float | None = None
    floor: float | None = None

    @property
    def value(self) -> float:
        return median(self.samples)

    @property
    def is_met(self) -> bool:
        """Whether it keeps to both."""
        return not (
            (self.bar is not None and self.value > self.bar)
            or (self.floor is not None and self.value < self.floor)
        )


def markdown(results: Sequence[Result]) -> str:
    """A table with a row for each thing measured; cells are medians and, in brackets, ranges."""
    subjects = list(dict.fromkeys(result.subject for result in results))
    rows = [["", *subjects, "bar"]]
    for what in dict.fromkeys(result.what for result in results):
        of_row = {result.subject: result for result in results if result.what == what}
        cells = [_cell(of_row[subject]) if subject in of_row else "" for subject in subjects]
        rows.append([what, *cells, _verdict(of_row.values())])
    rows.insert(1, ["---"] * len(rows[0]))
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def as_json(results: Sequence[Result]) -> str:
    """Machine, date, and every sample."""
    content = {
        "machine": machine_line(),
        "date": time.strftime("%Y-%m-%d", time.gmtime()),
        "results": [{**asdict(result), "value": result.value} for result in results],
    }
    return json.dumps(content, indent=1)


def machine_line() -> str:
    """What the numbers depend on. A load near the number of cores spoils them."""
    cpu = Path("/proc/cpuinfo").read_text(encoding="utf-8").split("model name\t: ")[-1]
    load = os.getloadavg()[0]
    return (
        f"{os.cpu_count()} cores of {cpu.splitlines()[0]}, Linux {platform.release()}, "
        f"CPython {platform.python_version()}, load {load:.1f} at the start"
    )


def _verdict(results: Iterable[Result]) -> str:
    """Whether all that have a bar keep to it."""
    limits = [
        (sign, limit, result)
        for result in results
        for sign, limit in (("≤", result.bar), ("≥", result.floor))
        if limit is not None
    ]
    if not limits:
        return ""
    is_met = all(result.is_met for _, _, result in limits)
    sign, limit, result = limits[0]
    return f"{sign} {_show(limit, result.unit)}: {'met' if is_met else 'MISSED'}"


def _cell(result: Result) -> str:
    low, high = min(result.samples), max(result.samples)
    text = _show(result.value, result.unit)
    if len(result.samples) == 1:
        return text
    return f"{text} ({_show(low, result.unit)} – {_show(high, result.unit)})"


def _show(value: float, unit: Unit) -> str:
    if unit == "ratio":
        return f"{value:.2f}×"
    if unit == "bytes":
        return f"{value / 1e6:.1f} MB"
    for factor, name in ((1.0, "s"), (1e3, "ms")):
        if abs(value) * factor >= 1:
            return f"{value * factor:.3g} {name}"
    return f"{value * 1e6:.3g} µs"
