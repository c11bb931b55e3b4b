"""The name of a repository's instance: its own action cache on a server of many repositories.

Imports nothing of Pants.
"""

from __future__ import annotations

import hashlib
import os
import re
from pathlib import Path
from typing import Optional

_GITDIR = "gitdir:"
_WORKTREE = re.compile(rb'^\s*worktree\s*=\s*"?(.+?)"?\s*$', re.MULTILINE)


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
    """A directory that is the same for the build root in all worktrees of its repository.

    It is the build root in the main worktree, or, if git doesn't know a main worktree, a path below
    the directory in which it keeps the repository.
    """
    for top in (build_root, *build_root.parents):
        git = top / ".git"
        if git.is_dir():
            return build_root
        if git.is_file():
            kept = _kept_in(git)
            return (_main_worktree(kept) if kept else top) / build_root.relative_to(top)
    return build_root


def _kept_in(git: Path) -> Optional[Path]:
    """The directory in which git keeps the repository of a `.git` file.

    None if the file leads nowhere. Source: gitrepository-layout(5), `.git` and `commondir`.
    """
    try:
        content = os.fsdecode(git.read_bytes()).rstrip("\r\n")
        if not content.startswith(_GITDIR):
            return None
        own = git.parent / content[len(_GITDIR) :].strip()
        if not (own / "HEAD").is_file():
            return None
        link = own / "commondir"  # only a linked worktree has it
        common = os.fsdecode(link.read_bytes()).strip() if link.is_file() else ""
        return (own / common).resolve()
    except (OSError, ValueError):
        return None


def _main_worktree(kept: Path) -> Path:
    """The main worktree of a repository that is kept there; if there is none, `kept` itself.

    A bare repository has none. With `git init --separate-git-dir`, git doesn't know where it is.
    """
    if kept.name == ".git":
        return kept.parent
    try:
        # git-config(1): `core.worktree` is relative to that directory. Submodules have it.
        setting = _WORKTREE.search((kept / "config").read_bytes())
    except OSError:
        setting = None
    return (kept / os.fsdecode(setting.group(1))).resolve() if setting else kept
