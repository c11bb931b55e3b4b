"""Reaching files below a directory that somebody else filled, without being led out of it."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

MAX_LEVELS: Final = 200
"""How deep a path may go: each level takes a file descriptor while it is looked at."""

_MAX_LINKS: Final = 40
_OPEN_DIRECTORY: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


class Escapes(Exception):
    """The path leads out of the directory, around in circles, or too deep."""


@contextmanager
def parent_of(root_fd: int, path: str, *, follow: bool = False) -> Iterator[tuple[int, str]]:
    """The directory that holds what ``path`` leads to, open, and the name it has in there.

    Relative symlinks on the way are followed as long as they stay below the root. The last segment
    is followed likewise if ``follow`` says so, else it isn't looked at. The name is "." for the
    root itself. It holds as long as nobody changes the tree meanwhile.

    Raises (on entering):
        FileNotFoundError, NotADirectoryError: there is no such directory.
        Escapes: a symlink leads out.
    """
    # The way from the root, so that ".." in a link is a step back in here and never a look-up.
    opened = [os.dup(root_fd)]
    try:
        name = _descend(opened, path, follow=follow)
        yield opened[-1], name
    finally:
        for fd in opened:
            os.close(fd)


def ends_below(root_fd: int, path: str) -> bool:
    """Whether ``path``, all its symlinks followed, leads to something below the root."""
    try:
        with parent_of(root_fd, path, follow=True):
            return True
    except (FileNotFoundError, NotADirectoryError, Escapes):
        return False


def open_directory(parent_fd: int, name: str) -> int:
    """Open a directory, not what a symlink leads to. Raises OSError."""
    return os.open(name, _OPEN_DIRECTORY, dir_fd=parent_fd)


def open_file(directory_fd: int, name: str) -> int:
    """Open a regular file for reading. A FIFO put in its place doesn't block, a link isn't taken.

    Raises:
        OSError: it can't be opened, or isn't a regular file.
    """
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    fd = os.open(name, flags, dir_fd=directory_fd)
    if not stat.S_ISREG(os.fstat(fd).st_mode):
        os.close(fd)
        raise OSError(f"{name!r} isn't a regular file")
    return fd


def _descend(opened: list[int], path: str, *, follow: bool) -> str:
    """Open the directories on the way, and return the name that is left."""
    waiting, links = _reversed_segments(path), 0
    while waiting:
        segment = waiting.pop()
        if segment == "..":
            if len(opened) == 1:
                raise Escapes("a symlink leads out of the input root")
            os.close(opened.pop())
            continue
        discard = not waiting
        if discard and not follow:
            return segment
        mode = os.stat(segment, dir_fd=opened[-1], follow_symlinks=False).st_mode
        if stat.S_ISLNK(mode):
            target = os.readlink(segment, dir_fd=opened[-1])
            links += 1
            if target.startswith("/"):
                raise Escapes(f"the symlink {segment!r} leads out of the input root, to {target!r}")
            if links > _MAX_LINKS:
                raise Escapes(f"over {_MAX_LINKS} symlinks lead from one to the next")
            waiting += _reversed_segments(target)
        elif discard:
            return segment
        elif len(opened) > MAX_LEVELS:
            raise Escapes(f"it is over {MAX_LEVELS} levels deep")
        else:
            opened.append(open_directory(opened[-1], segment))
    return "."


def _reversed_segments(path: str) -> list[str]:
    return [segment for segment in reversed(path.split("/")) if segment not in ("", ".")]
