"""The uid and gid that actions run as, on the host and inside their sandbox."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from reapi_local.execute.sandbox.action_paths import HOME

ACTION_UID: Final = 64321
"""The host's uid and gid of actions if the server runs as root. No other user should have it."""

_INNER_UID: Final = 1000


@dataclass(frozen=True)
class Identity:
    """``uid`` and ``gid`` are those on the host, ``inner_uid`` and ``inner_gid`` in the sandbox.

    ``groups``: supplementary groups on the host. An ordinary user can't give them up.
    """

    uid: int
    gid: int
    inner_uid: int
    inner_gid: int
    groups: frozenset[int] = frozenset()

    def may(self, status: os.stat_result, permission: int) -> bool:
        """Whether a file's mode grants it: 4 to read, 2 to write, 1 to execute or search."""
        if status.st_uid == self.uid:
            return status.st_mode & permission << 6 == permission << 6
        if status.st_gid == self.gid or status.st_gid in self.groups:
            return status.st_mode & permission << 3 == permission << 3
        return status.st_mode & permission == permission


def identity_of_actions(uid: int | None = None) -> Identity:
    """Actions of root's server run as ``uid`` (default :data:`ACTION_UID`), others as its user.

    The host's uid 0 is never mapped into a sandbox: even without capabilities it owns /proc/sys.
    """
    if os.getuid() != 0:
        groups = frozenset(os.getgroups())
        return Identity(os.getuid(), os.getgid(), os.getuid(), os.getgid(), groups)
    chosen = ACTION_UID if uid is None else uid
    return Identity(chosen, chosen, _INNER_UID, _INNER_UID)


def account_files(identity: Identity) -> dict[str, str]:
    """Contents for /etc/passwd and /etc/group in which the action's uid and gid have names.

    By path. A file is absent if the host's own already has a name for the id.
    """
    uid, gid = identity.inner_uid, identity.inner_gid
    own_lines = {
        "/etc/passwd": (uid, f"reapi:x:{uid}:{gid}:reapi-local action:{HOME}:/bin/sh"),
        "/etc/group": (gid, f"reapi:x:{gid}:"),
    }
    files = {}
    for path, (number, own_line) in own_lines.items():
        lines = _read_lines(path)
        if number not in set(_ids(lines)):
            files[path] = "".join(f"{line}\n" for line in (*lines, own_line))
    return files


def _read_lines(path: str) -> list[str]:
    try:
        return Path(path).read_text(encoding="utf-8", errors="surrogateescape").splitlines()
    except OSError:
        return []


def _ids(lines: Iterable[str]) -> Iterable[int]:
    for line in lines:
        fields = line.split(":")
        if len(fields) > 2 and fields[2].isdecimal():
            yield int(fields[2])
