"""Finds the symlinks that lead from a path to a file."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Final

_MOST: Final = 40
"""How many symlinks the kernel follows in one path: path_resolution(7)."""


def symlinks_on(path: str) -> Iterator[str]:
    """Every symlink that is followed to resolve an absolute path, each by its own real path.

    It ends at the first component that doesn't exist.
    """
    left = [name for name in reversed(path.split("/")) if name not in ("", ".")]
    at = "/"
    for _ in range(_MOST):
        while left:
            name = left.pop()
            if name == "..":
                at = os.path.dirname(at)
                continue
            at = os.path.join(at, name)
            if os.path.islink(at):
                break
        else:
            return
        yield at
        try:
            target = os.readlink(at)
        except OSError:
            return
        at = "/" if target.startswith("/") else os.path.dirname(at)
        left += [name for name in reversed(target.split("/")) if name not in ("", ".")]
