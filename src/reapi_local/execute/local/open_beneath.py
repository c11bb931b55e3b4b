"""Opens paths below an untrusted directory without leaving it, like RESOLVE_BENEATH of openat2."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from reapi_local.protocol.paths import MAX_DEPTH

_MAX_SYMLINKS: Final = 40
_OPEN_DIRECTORY: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


class PathEscapes(Exception):
    """The path leads out of the directory, has too many symlinks, or is too deep."""


@contextmanager
def open_parent(root_fd: int, path: str, *, follow: bool = False) -> Iterator[tuple[int, str]]:
    """Resolve ``path``: yield a descriptor of the parent directory, and the name in it.

    Relative symlinks to directories are followed as long as they stay below the root. The last
    segment is resolved only with ``follow``. For the root itself the name is ".". The result is
    safe only if nobody changes the tree at the same time.

    Raises (on entering):
        FileNotFoundError, NotADirectoryError: the parent directory doesn't exist.
        PathEscapes: a symlink leads out of the root.
    """
    # All directories from the root down. So ".." in a symlink goes back to the previous one, and
    # is never looked up in the file system.
    open_fds = [os.dup(root_fd)]
    try:
        name = _descend(open_fds, path, follow=follow)
        yield open_fds[-1], name
    finally:
        for fd in open_fds:
            os.close(fd)


def resolves_below(root_fd: int, path: str) -> bool:
    """Whether ``path``, with all symlinks followed, leads to an existing path below the root."""
    try:
        with open_parent(root_fd, path, follow=True):
            return True
    except (FileNotFoundError, NotADirectoryError, PathEscapes):
        return False


def open_directory(parent_fd: int, name: str) -> int:
    """Open a directory without following a symlink. Raises OSError."""
    return os.open(name, _OPEN_DIRECTORY, dir_fd=parent_fd)


def open_file(directory_fd: int, name: str) -> int:
    """Open a regular file for reading, without following a symlink or blocking on a FIFO.

    Raises:
        OSError: it can't be opened, or isn't a regular file.
    """
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    fd = os.open(name, flags, dir_fd=directory_fd)
    if not stat.S_ISREG(os.fstat(fd).st_mode):
        os.close(fd)
        raise OSError(f"{name!r} isn't a regular file")
    return fd


def _descend(open_fds: list[int], path: str, *, follow: bool) -> str:
    """Open one directory after the other, append them to ``open_fds``, and return the last name."""
    pending, symlink_count = _reversed_segments(path), 0
    while pending:
        segment = pending.pop()
        if segment == "..":
            if len(open_fds) == 1:
                raise PathEscapes("a symlink leads out of the input root")
            os.close(open_fds.pop())
            continue
        is_last = not pending
        if is_last and not follow:
            return segment
        mode = os.stat(segment, dir_fd=open_fds[-1], follow_symlinks=False).st_mode
        if stat.S_ISLNK(mode):
            target = os.readlink(segment, dir_fd=open_fds[-1])
            symlink_count += 1
            if target.startswith("/"):
                raise PathEscapes(
                    f"the symlink {segment!r} leads out of the input root, to {target!r}"
                )
            if symlink_count > _MAX_SYMLINKS:
                raise PathEscapes(f"the path has more than {_MAX_SYMLINKS} symlinks")
            pending += _reversed_segments(target)
        elif is_last:
            return segment
        elif len(open_fds) > MAX_DEPTH:
            raise PathEscapes(f"the path is over {MAX_DEPTH} levels deep")
        else:
            open_fds.append(open_directory(open_fds[-1], segment))
    return "."


def _reversed_segments(path: str) -> list[str]:
    return [segment for segment in reversed(path.split("/")) if segment not in ("", ".")]
