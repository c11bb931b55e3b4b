"""Where Pants looks for programs, as far as its options say so. Imports nothing of Pants."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from typing import Any

_OPTIONS = (
    ("python-bootstrap", "search_path"),
    ("system-binaries", "system_binary_paths"),
    ("shell-setup", "executable_search_paths"),
    ("golang", "go_search_paths"),
    ("nodejs", "search_path"),
)
"""Options with lists of directories of programs. Entries like `<PYENV>` stand for usual places."""


def program_directories(options: Any) -> Iterator[str]:
    """The directories of the interpreter that runs Pants, and those of programs it looks for.

    For `…/bin` this is the directory above it, which has the libraries of its programs.
    """
    yield from (sys.prefix, sys.base_prefix)
    for scope, name in _OPTIONS:
        for directory in _listed(options, scope, name):
            path = os.path.normpath(directory)
            yield path
            if os.path.basename(path) in ("bin", "sbin"):
                yield os.path.dirname(path)


def _listed(options: Any, scope: str, name: str) -> list[str]:
    try:
        listed = getattr(options.for_scope(scope), name)
    except Exception:  # the backend isn't loaded, or this Pants calls the option otherwise
        return []
    directories = listed if isinstance(listed, (list, tuple)) else ()
    return [one for one in directories if isinstance(one, str) and os.path.isabs(one)]
