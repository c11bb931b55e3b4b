"""As whom actions run, inside their sandbox and as the host sees it."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from reapi_local.execute.sandbox.interface import HOME

ACTION_USER: Final = 64321
"""The host's uid and gid of actions when the server is run by root: one that nobody has."""

_INNER_USER: Final = 1000


@dataclass(frozen=True)
class Identity:
    """``user`` and ``group`` are the host's, ``inner_...`` what an action itself sees.

    ``groups`` are those that can't be given up: an ordinary user's own.
    """

    user: int
    group: int
    inner_user: int
    inner_group: int
    groups: frozenset[int] = frozenset()

    def may(self, status: os.stat_result, permission: int) -> bool:
        """Whether a file's mode grants it: 4 to read, 2 to write, 1 to execute or search."""
        if status.st_uid == self.user:
            return status.st_mode & permission << 6 == permission << 6
        if status.st_gid == self.group or status.st_gid in self.groups:
            return status.st_mode & permission << 3 == permission << 3
        return status.st_mode & permission == permission


def identity_of_actions(user: int | None = None) -> Identity:
    """Root's actions run as ``user`` (default :data:`ACTION_USER`), anyone else's as themselves.

    The host's user 0 is never mapped: even without a capability it owns /proc/sys.
    """
    if os.getuid() != 0:
        groups = frozenset(os.getgroups())
        return Identity(os.getuid(), os.getgid(), os.getuid(), os.getgid(), groups)
    chosen = ACTION_USER if user is None else user
    return Identity(chosen, chosen, _INNER_USER, _INNER_USER)


def missing_accounts(identity: Identity) -> dict[str, str]:
    """What /etc/passwd and /etc/group have to say so that a program can look up who it is.

    By path; absent = the host's own names the id already.
    """
    user, group = identity.inner_user, identity.inner_group
    lines = {
        "/etc/passwd": (user, f"reapi:x:{user}:{group}:reapi-local action:{HOME}:/bin/sh"),
        "/etc/group": (group, f"reapi:x:{group}:"),
    }
    found = {}
    for path, (number, line) in lines.items():
        known = _lines(path)
        if number not in set(_numbers(known)):
            found[path] = "".join(f"{known_line}\n" for known_line in (*known, line))
    return found


def _lines(path: str) -> list[str]:
    try:
        return Path(path).read_text(encoding="utf-8", errors="surrogateescape").splitlines()
    except OSError:
        return []


def _numbers(lines: Iterable[str]) -> Iterable[int]:
    for line in lines:
        fields = line.split(":")
        if len(fields) > 2 and fields[2].isdecimal():
            yield int(fields[2])
