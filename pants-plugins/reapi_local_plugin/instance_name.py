"""The name of a repository's instance: its own action cache on a server of many repositories.

Imports nothing of Pants.
"""

from __future__ import annotations

import hashlib
import os
import re
from pathlib import Path
from typing import Optional


def instance_name(configured: Optional[str], build_root: Path) -> str:
    """The configured name, else one derived from the repository's directory.

    All worktrees of a git repository get the same name, so that they share results. It consists of
    the directory's name and a hash of its path, because other directories may have the same name.
    """
    if configured is not None:
        return configured
    home = _repository(build_root.resolve())
    readable = re.sub(r"[^A-Za-z0-9._-]+", "-", home.name).strip("-.") or "repository"
    return f"{readable[:40]}-{hashlib.sha256(os.fsencode(home)).hexdigest()[:8]}"


def _repository(build_root: Path) -> Path:
    """The directory of the build root in the main worktree of its repository."""
    for top in (build_root, *build_root.parents):
        git = top / ".git"
        if git.is_dir():
            return build_root
        if git.is_file():
            common = _common_directory(git)
            if common is None:
                return build_root
            return common.parent / build_root.relative_to(top)
    return build_root


def _common_directory(git: Path) -> Optional[Path]:
    """The `.git` directory that a worktree's `.git` file names (gitrepository-layout(5))."""
    try:
        own = git.parent / git.read_text().strip()[len("gitdir: ") :]
        return (own / (own / "commondir").read_text().strip()).resolve()
    except (OSError, ValueError):
        return None  # a submodule, a worktree without its repository, or not a file of git
