"""The line after a build: what the cache saved. Imports nothing of Pants."""

from __future__ import annotations

from collections.abc import Mapping


def summary_line(counters: Mapping[str, int]) -> str:
    """The line for Pants' counters; "" if the remote cache was asked for nothing."""
    asked = counters.get("remote_cache_requests", 0)
    if not asked:
        return ""
    cached = counters.get("remote_cache_requests_cached", 0)
    saved = counters.get("remote_cache_total_time_saved_ms", 0)
    line = f"reapi: {cached} of {asked} from the cache"
    if cached:
        line += f", {_seconds(saved)} not run"
    if cached < asked:
        line += f" · why {asked - cached} ran: pants reapi-explain"
    return line


def _seconds(milliseconds: int) -> str:
    seconds = milliseconds / 1000
    if seconds < 10:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"
