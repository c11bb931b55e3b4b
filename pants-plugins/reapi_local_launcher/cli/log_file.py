"""Reading the end of a log, and what is written to it from then on."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

_BLOCK_BYTES = 64 * 1024
_PAUSE_S = 0.2


def last_lines(log: Path, count: int) -> tuple[str, int]:
    """The last lines of a log, and the offset in bytes of its end. Raises OSError.

    Bytes that are not UTF-8 are replaced.
    """
    with log.open("rb") as file:
        start = end = file.seek(0, os.SEEK_END)
        data = b""
        # One line break more than lines: the first one ends the line before them.
        while start > 0 and data.count(b"\n") <= count:
            block = min(_BLOCK_BYTES, start)
            start -= block
            file.seek(start)
            data = file.read(block) + data
    lines = data.splitlines(keepends=True)
    return b"".join(lines[len(lines) - min(count, len(lines)) :]).decode(errors="replace"), end


def follow(log: Path, offset: int, write: Callable[[str], object]) -> None:
    """Write the lines that are added to a log after an offset, for ever. Raises OSError.

    A server that starts may set the log aside and begin a new one, which is then read too.
    """
    while True:
        with log.open("rb") as file:
            file.seek(offset)
            while True:
                _write_lines(file, write)
                if not _is_at(log, file):
                    break
                time.sleep(_PAUSE_S)
            _write_lines(file, write)
        offset = 0
        while not log.exists():
            time.sleep(_PAUSE_S)


def _write_lines(file: BinaryIO, write: Callable[[str], object]) -> None:
    """Write the lines that are complete, so that no character is cut in two."""
    start = file.tell()
    added = file.read()
    whole = added[: added.rfind(b"\n") + 1]
    file.seek(start + len(whole))
    if whole:
        write(whole.decode(errors="replace"))


def _is_at(log: Path, file: BinaryIO) -> bool:
    """Whether the open file is still the log, and has not been cut."""
    try:
        now = log.stat()
    except FileNotFoundError:
        return False
    return now.st_ino == os.fstat(file.fileno()).st_ino and now.st_size >= file.tell()
