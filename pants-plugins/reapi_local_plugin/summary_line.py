"""The line after a build: what the cache saved. Imports nothing of Pants."""

from __future__ import annotations

from collections.abc import Mapping

from reapi_local_launcher.cli.explanation_report import seconds


def summary_line(counters: Mapping[str, int]) -> str:
    """The line for Pants' counters; "" if the remote cache was asked for nothing."""
    asked = counters.get("remote_cache_requests", 0)
    if not asked:
        return ""
    cached = counters.get("remote_cache_requests_cached", 0)
    saved = counters.get("remote_cache_total_time_saved_ms", 0)
    line = f"reapi: {cached} of {asked} from the cache"
    if cached:
        line += f", {seconds(saved)} not run"
    if cached < asked:
        line += f" · why {asked - cached} ran: pants reapi-explain"
    return line
