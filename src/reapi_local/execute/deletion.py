"""Deleting trees that others made: deep, closed, or not there at all."""

from __future__ import annotations

import os
import shutil
import subprocess
from contextlib import suppress


def remove(path: str) -> None:
    """Delete a directory and all below it, whatever the modes in there. Blocks.

    Raises:
        OSError: it can't be deleted.
    """
    with suppress(RecursionError):
        shutil.rmtree(path, ignore_errors=True)
    if os.path.lexists(path):
        # The commands walk trees that are deeper than a path may be long.
        _run("chmod", "-R", "u+rwx", path)
        if complaint := _run("rm", "-rf", path):
            raise OSError(f"can't remove {path}: {complaint[-500:]}")


def _run(*command: str) -> str:
    """What it says on standard error if it fails."""
    ran = subprocess.run(command, capture_output=True, text=True, check=False)
    return ran.stderr.strip() if ran.returncode else ""
