"""Whether git ignores a file. A `.pants.rc` that it does not ignore may be committed by mistake."""

from __future__ import annotations

import subprocess
from pathlib import Path


def is_ignored(build_root: Path, name: str) -> bool | None:
    """Whether git ignores a file of the build root; it ignores no file that it tracks.

    None if git cannot say: it is not installed, or the build root is in no worktree.
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
