"""Finds what must not be seen in a directory that is shown: sockets, credentials, private files."""

from __future__ import annotations

import os
import stat
from fnmatch import fnmatchcase
from typing import Final

from reapi_contract.data_dir import SERVER_LOCK, STATE_FILE

CREDENTIALS: Final = (
    *(".env", ".env.*", ".envrc", ".netrc", "_netrc", ".git-credentials", ".pypirc", ".pgpass"),
    *(".npmrc", "npmrc", ".condarc", "condarc", "pip.conf", ".bazelrc.reapi-local"),
    *("credentials.toml", "id_dsa", "id_ecdsa", "id_ed25519", "id_rsa"),
)
"""Names of files in which credentials are kept by custom, also inside of repositories."""

_EXACT: Final = frozenset(name for name in CREDENTIALS if "*" not in name)
_PATTERNS: Final = tuple(name for name in CREDENTIALS if "*" in name)
_PACKAGES: Final = ("node_modules", "site-packages")
"""Everything in them was published, so their files hold no credentials of this user."""

_GIT_DIRECTORY: Final = frozenset({"HEAD", "config", "objects", "refs"})
_GIT_CONFIGURATION: Final = ("config", "config.worktree")
"""In a git directory, these may hold the token with which git fetches."""

_MANY: Final = 500


def find_private(top: str, *, by_mode: bool) -> tuple[str, ...]:
    """What is in a directory, or below it, that no action may see. Symlinks aren't followed.

    These are all files that are neither regular nor directories nor symlinks, files with the names
    of credentials, git's configuration, and data directories of reapi-local. ``by_mode``: also
    files that others may not read, in directories that others may. Such a file is private on
    purpose. But where there are very many, it is the umask that makes them, and all are shown.
    """
    found, private_by_mode = [], []
    to_visit = [(top, True)]
    while to_visit:
        directory, is_own = to_visit.pop()
        entries = _entries(directory)
        names = {entry.name for entry in entries}
        if {STATE_FILE, SERVER_LOCK} <= names:
            found.append(directory)
            continue
        if is_own and names >= _GIT_DIRECTORY:
            found += [f"{directory}/{name}" for name in _GIT_CONFIGURATION if name in names]
        is_open = by_mode and _is_open(directory)
        for entry in entries:
            if entry.is_symlink():
                continue
            if entry.is_dir(follow_symlinks=False):
                to_visit.append((entry.path, is_own and entry.name not in _PACKAGES))
            elif not entry.is_file(follow_symlinks=False) or (is_own and _is_credential(entry)):
                found.append(entry.path)
            elif is_open and _is_private(entry):
                private_by_mode.append(entry.path)
    return tuple(found if len(private_by_mode) > _MANY else [*found, *private_by_mode])


def _entries(directory: str) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(directory) as entries:
            return list(entries)
    except OSError:  # deleted meanwhile, or this user may not list it
        return []


def _is_credential(entry: os.DirEntry[str]) -> bool:
    name = entry.name
    return name in _EXACT or any(fnmatchcase(name, pattern) for pattern in _PATTERNS)


def _is_open(directory: str) -> bool:
    try:
        return os.stat(directory).st_mode & 0o005 == 0o005
    except OSError:
        return False


def _is_private(entry: os.DirEntry[str]) -> bool:
    """Whether others may not read it, and it is no program."""
    try:
        mode = entry.stat(follow_symlinks=False).st_mode
    except OSError:
        return False
    return not mode & (stat.S_IROTH | stat.S_IXUSR)
