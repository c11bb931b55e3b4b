"""ActionLimits that an action ran into, in words for its user."""

from __future__ import annotations

from collections.abc import Iterable

from reapi_local.execute.sandbox.interface import ActionLimits

_UNITS = ("bytes", "KiB", "MiB", "GiB", "TiB")


def in_words(limits_hit: Iterable[str], limits: ActionLimits) -> tuple[str, ...]:
    """One sentence each; ``limits_hit`` are names of fields of ``limits``."""
    sentences = {
        "scratch_bytes": (
            f"it filled the {_size(limits.scratch_bytes)} that an action may write; "
            "raise scratch_size"
        ),
        "scratch_inodes": (
            f"it made all of the {limits.scratch_inodes:,} files that an action may make; "
            "raise scratch_inodes"
        ),
        "memory_bytes": (
            f"it needed more than {_size(limits.memory_bytes)} of memory, with the files that it "
            "wrote; raise action_memory"
        ),
        "processes": (
            f"it needed more than {limits.processes:,} processes at once; raise action_processes"
        ),
        "cpu_seconds": (
            f"it used more than {limits.cpu_seconds:,} seconds of CPU time; "
            "raise action_cpu_seconds"
        ),
        "file_bytes": (
            f"it wrote a file of more than {_size(limits.file_bytes)}; raise action_file_size"
        ),
    }
    return tuple(sentences[name] for name in limits_hit)


def _size(number: int) -> str:
    """Exact if it has a round name, as settings mostly do: 4 GiB, 1536 MiB, 1001 bytes."""
    unit = 0
    while number and number % 1024 == 0 and unit + 1 < len(_UNITS):
        number //= 1024
        unit += 1
    return f"{number} {_UNITS[unit]}"
