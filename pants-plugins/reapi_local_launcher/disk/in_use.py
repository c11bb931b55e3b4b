"""Which directories running processes use."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path

_PROC = Path("/proc")
_WHERE = ("cmdline", "environ", "maps")


def used_by_processes(directories: Iterable[Path]) -> set[Path]:
    """Those of the directories that a process of this user names, or has mapped files of.

    It names them in its command line or in the environment that it was started with. Without /proc
    the mapped files are unknown. A directory counts as used if there is any doubt.
    """
    names = {
        directory: (os.fsencode(directory), os.fsencode(directory.resolve()))
        for directory in directories
    }
    used: set[Path] = set()
    for text in _texts() if names else ():
        used.update(one for one in names if any(name in text for name in names[one]))
    return used


def _texts() -> Iterator[bytes]:
    if not (_PROC / "self" / "maps").exists():
        command = ["ps", "-axwwE", "-o", "command="]
        yield subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout
        return
    for process in _PROC.iterdir():
        if process.name.isdigit():
            for name in _WHERE:
                with suppress(OSError):  # it has ended, or is another user's
                    yield (process / name).read_bytes()
