"""File systems made for a test."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest


@contextmanager
def small_file_system(path: Path, options: str) -> Iterator[Path]:
    """One at a new directory, for options of tmpfs; skips the test where it can't be mounted."""
    path.mkdir()
    try:
        mount = ["mount", "-t", "tmpfs", "-o", options, "none", str(path)]
        subprocess.run(mount, check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("can't mount a file system here: that takes root")
    try:
        yield path
    finally:
        subprocess.run(["umount", "--lazy", str(path)], check=True)
