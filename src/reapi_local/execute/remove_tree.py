"""Deletes untrusted directory trees, which may be too deep for rmtree, read-only, or absent."""

from __future__ import annotations

import os
import shutil
import subprocess
from contextlib import suppress
from typing import Final

_MAX_MESSAGE_CHARACTERS: Final = 500


def remove_tree(path: str) -> None:
    """Delete a directory and everything below it, even if modes forbid it. Blocks. Idempotent.

    Raises:
        OSError: something in it can't be deleted.
    """
    with suppress(RecursionError):
        shutil.rmtree(path, ignore_errors=True)
    if os.path.lexists(path):
        # These commands can walk trees whose paths are longer than PATH_MAX.
        _run("chmod", "-R", "u+rwx", path)
        if stderr := _run("rm", "-rf", path):
            raise OSError(f"can't remove {path}: {stderr[-_MAX_MESSAGE_CHARACTERS:]}")


def _run(*command: str) -> str:
    """Return stderr if the command failed, else ""."""
    ran = subprocess.run(command, capture_output=True, text=True, check=False)
    return ran.stderr.strip() if ran.returncode else ""
