"""Whether a data directory belongs to this user alone, so that what is in it can be trusted.

Who writes the state file chooses the server that clients talk to, and the token of the next one. So
server and launcher use neither a directory nor a file that another user made or may write. This
holds for root, too: root must not trust the files of an ordinary user.
"""

from __future__ import annotations

import errno
import os
import shlex
import stat
from pathlib import Path
from typing import NamedTuple

from reapi_contract.data_dir import LAUNCH_LOCK, SERVER_LOCK, STATE_FILE

_OTHERS_MAY_WRITE = stat.S_IWGRP | stat.S_IWOTH


class Distrust(NamedTuple):
    """Why a path can't be trusted, as the rest of a sentence about it, and a command against it."""

    path: str
    why: str
    command: str

    def __str__(self) -> str:
        return f"{self.path} {self.why}"

    def remedy(self, data_dir_setting: str) -> str:
        """What to do, as a clause; ``data_dir_setting`` names the setting as the user knows it."""
        return (
            f"choose another directory with {data_dir_setting}, or, if everything in this one is "
            f"yours, run `{self.command}`"
        )


def distrust(data_dir: str | Path) -> Distrust | None:
    """Why a data directory can't be used; None if it can, or is absent, or can't be looked into.

    The directory, the state file and the locks must belong to this user, and nobody else may write
    in the directory and the state file. No file may be a symlink.
    """
    try:
        if wrong := _wrong_owner(data_dir, os.stat(data_dir)) or _open_to_others(data_dir):
            return wrong
    except (OSError, ValueError):
        return None
    for name in (STATE_FILE, SERVER_LOCK, LAUNCH_LOCK):
        path = os.path.join(data_dir, name)
        try:
            status = os.lstat(path)
        except OSError:
            continue
        if wrong := _wrong_file(path, status):
            return wrong
        if name == STATE_FILE and (wrong := _open_to_others(path)):
            return wrong
    return None


def read_own(path: str | Path) -> bytes:
    """The content of a file that this user alone may write.

    Raises OSError if it can't be read or is another kind of file.
    """
    # Without waiting, should it be a pipe.
    fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    with open(fd, "rb") as file:
        status = os.fstat(fd)
        if _wrong_file(path, status) or status.st_mode & _OTHERS_MAY_WRITE:
            raise PermissionError(errno.EPERM, "others may have written it", str(path))
        return file.read()


def belongs_to_us(directory: str | Path) -> bool:
    """Whether this user made a directory, and not everybody may write in it."""
    status = os.stat(directory)
    return status.st_uid == os.geteuid() and not status.st_mode & stat.S_IWOTH


def _wrong_file(path: str | Path, status: os.stat_result) -> Distrust | None:
    if stat.S_ISLNK(status.st_mode):
        return Distrust(str(path), "is a symlink, which may lead anywhere", f"rm {_quoted(path)}")
    return _wrong_owner(path, status)


def _wrong_owner(path: str | Path, status: os.stat_result) -> Distrust | None:
    me = os.geteuid()
    if status.st_uid == me:
        return None
    why = f"belongs to user {status.st_uid}, so user {me} can't trust what is in it"
    return Distrust(str(path), why, f"chown -R {me} {_quoted(path)}")


def _open_to_others(path: str | Path) -> Distrust | None:
    mode = stat.S_IMODE(os.stat(path).st_mode)
    if not mode & _OTHERS_MAY_WRITE:
        return None
    why = f"can be written by other users: its mode is {mode:04o}"
    return Distrust(str(path), why, f"chmod go-w {_quoted(path)}")


def _quoted(path: str | Path) -> str:
    return shlex.quote(str(path))
