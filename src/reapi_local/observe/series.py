"""Series of numbers, and their form for Prometheus."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping, Sequence
from itertools import accumulate
from typing import Final, TypeAlias

from prometheus_client.core import CounterMetricFamily, HistogramMetricFamily, Metric

Labels: TypeAlias = tuple[str, ...]
"""The values of a series' labels, in the order of the labels."""

_BOUNDS_SECONDS: Final = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.05, 0.25, 1.0, 5.0, 30.0)


class Durations:
    """A histogram of durations: their count, their sum, and the count in each bucket."""

    __slots__ = ("buckets", "count", "seconds")

    def __init__(self) -> None:
        self.count, self.seconds = 0, 0.0
        self.buckets = [0] * (len(_BOUNDS_SECONDS) + 1)

    def add(self, seconds: float) -> None:
        self.count += 1
        self.seconds += seconds
        self.buckets[bisect_left(_BOUNDS_SECONDS, seconds)] += 1


def counter_family(
    name: str, text: str, labels: Sequence[str], series: Mapping[Labels, int]
) -> Metric:
    """A counter; the values of its labels are the keys of ``series``."""
    family = CounterMetricFamily(name, text, labels=labels)
    for key, number in series.items():
        family.add_metric(key, number)
    return family


def histogram_family(
    name: str, text: str, labels: Sequence[str], series: Mapping[Labels, Durations]
) -> Metric:
    """A histogram of seconds; the values of its labels are the keys of ``series``."""
    family = HistogramMetricFamily(name, text, labels=labels)
    bounds = [*map(str, _BOUNDS_SECONDS), "+Inf"]
    for key, durations in series.items():
        counts = accumulate(durations.buckets)
        family.add_metric(key, list(zip(bounds, counts, strict=True)), durations.seconds)
    return family
