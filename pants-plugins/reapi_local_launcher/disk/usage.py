"""The disk usage of everything that reapi-local keeps on this machine, part by part."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from reapi_contract.data_dir import CACHES, INPUTS, JOURNAL, LOG_FILE, STORE
from reapi_contract.disk_usage import Seen, disk_bytes
from reapi_local_launcher.source import SOURCES

ENVIRONMENTS, BOOTSTRAP = "environments", "bootstrap"
"""Directories that all data directories share: Pythons for the server, and those for Pants."""

LOGS, OTHER = "logs", "other"

_PARTS = (STORE, INPUTS, CACHES, JOURNAL, ENVIRONMENTS, BOOTSTRAP, SOURCES)


@dataclass(frozen=True)
class DiskUsage:
    """Bytes of disk, as `du` counts them. `parts` are in a fixed order, and add up to the total."""

    parts: dict[str, int]

    @property
    def total_bytes(self) -> int:
        return sum(self.parts.values())


def measure(data_dir: Path, home: Path) -> DiskUsage:
    """The usage of a data directory, and of the directory that all data directories share.

    Either may be within the other, and either may be absent.
    """
    parts = dict.fromkeys((*_PARTS, LOGS, OTHER), 0)
    seen: Seen = set()
    inner, outer = (home, data_dir) if home.is_relative_to(data_dir) else (data_dir, home)
    for path in _below(inner):
        parts[_part(path.name)] += disk_bytes(path, seen)
    if inner != outer:
        for path in _below(outer, without=inner):
            parts[_part(path.name)] += disk_bytes(path, seen)
    for root in {inner, outer}:
        parts[OTHER] += _own_bytes(root)
    return DiskUsage(parts)


def _below(root: Path, without: Path | None = None) -> Iterator[Path]:
    """What is in a directory. A directory that contains `without` gives what is in it instead."""
    try:
        names = sorted(os.listdir(root))
    except OSError:
        return
    for name in names:
        path = root / name
        if without is None or not without.is_relative_to(path):
            yield path


def _part(name: str) -> str:
    if name.startswith(LOG_FILE):
        return LOGS
    if name.startswith(STORE):  # and the rest of a store that was being purged
        return STORE
    return name if name in _PARTS else OTHER


def _own_bytes(directory: Path) -> int:
    """What a directory itself occupies, without what is in it."""
    try:
        return directory.stat().st_blocks * 512
    except OSError:
        return 0
