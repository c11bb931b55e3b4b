"""The server's lock: the server holds it (flock) for as long as it runs, with its process id in it.

A launcher reads from it which process is starting, before there is a state file.
"""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from typing import IO

from reapi_contract.data_dir import SERVER_LOCK


def write_holder(lock: IO[str]) -> None:
    """Write the id of this process, which holds the lock. A full disk does no harm."""
    with suppress(OSError):
        lock.truncate(0)
        lock.write(f"{os.getpid()}\n")
        lock.flush()


def read_holder(data_dir: Path) -> int | None:
    """The process that took the lock last, which may have ended; None if it is unknown."""
    try:
        text = (data_dir / SERVER_LOCK).read_text(encoding="ascii").strip()
    except (OSError, ValueError):
        return None
    return int(text) if text.isdecimal() and len(text) < 10 else None
