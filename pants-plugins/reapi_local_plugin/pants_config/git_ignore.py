"""Whether git ignores a file: a `.pants.rc` that it does not may be committed by accident."""

from __future__ import annotations

import subprocess
from pathlib import Path


def is_ignored(build_root: Path, name: str) -> bool | None:
    """Whether git ignores a file of the build root; a file that git tracks is not ignored.

    None when git cannot tell: it is not installed, or the build root is in no work tree.
    """
    try:
        done = subprocess.run(
            ["git", "check-ignore", "--quiet", "--", name],
            cwd=build_root,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            check=False,
            timeout=10,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return {0: True, 1: False}.get(done.returncode)
