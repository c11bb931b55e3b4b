"""Turns the limits that an action exceeded into sentences for its user."""

from __future__ import annotations

from collections.abc import Iterable

from reapi_local.execute.sandbox.interface import ActionLimits

_UNITS = ("bytes", "KiB", "MiB", "GiB", "TiB")


def limit_messages(exceeded: Iterable[str], limits: ActionLimits) -> tuple[str, ...]:
    """One sentence for each name in ``exceeded``; the names are fields of :class:`ActionLimits`."""
    sentences = {
        "scratch_bytes": (
            f"it filled the {_format_size(limits.scratch_bytes)} that an action may write; "
            "raise scratch_size"
        ),
        "scratch_inodes": (
            f"it created all of the {limits.scratch_inodes:,} files that an action may create; "
            "raise scratch_inodes"
        ),
        "memory_bytes": (
            f"it needed more than {_format_size(limits.memory_bytes)} of memory, including the "
            "files that it wrote; raise action_memory"
        ),
        "processes": (
            f"it needed more than {limits.processes:,} processes at once; raise action_processes"
        ),
        "cpu_seconds": (
            f"it used more than {limits.cpu_seconds:,} seconds of CPU time; "
            "raise action_cpu_seconds"
        ),
        "file_bytes": (
            f"it wrote a file of more than {_format_size(limits.file_bytes)}; "
            "raise action_file_size"
        ),
    }
    return tuple(sentences[name] for name in exceeded)


def _format_size(size_bytes: int) -> str:
    """Exact, in the largest unit that gives a whole number: 4 GiB, 1536 MiB, 1001 bytes."""
    number, unit = size_bytes, 0
    while number and number % 1024 == 0 and unit + 1 < len(_UNITS):
        number //= 1024
        unit += 1
    return f"{number} {_UNITS[unit]}"
