"""What a command says about a long work: a line that is rewritten, or a few lines one by one."""

from __future__ import annotations

import time
from collections.abc import Callable

Say = Callable[[str], None]
"""Takes one line, without its line break."""

_WIDTH = 79
_FIRST_S = 5.0


class Terminal:
    """A `Say` for a terminal of 80 columns, which can rewrite its last line."""

    def __init__(self, write: Callable[[str], object]) -> None:
        self._write = write
        self._is_open = False

    def __call__(self, line: str) -> None:
        self._write(f"{self._begin()}{line}\n")
        self._is_open = False

    def rewrite(self, text: str) -> None:
        """Show a text in place of the one before."""
        self._write(f"{self._begin()}{text[:_WIDTH]}")
        self._is_open = True

    def clear(self) -> None:
        """Remove that text."""
        self._write(self._begin())
        self._is_open = False

    def _begin(self) -> str:
        return "\r\x1b[K" if self._is_open else ""


class Steps:
    """Says how far a work is, and how long it has taken.

    On a terminal the line is rewritten at each call. Elsewhere there is a line after 5, 10, 20 …
    seconds.
    """

    def __init__(self, say: Say, what: str) -> None:
        self._say, self._what = say, what
        self._began = time.monotonic()
        self._next_s = _FIRST_S

    @property
    def elapsed_s(self) -> float:
        return time.monotonic() - self._began

    def show(self, done: str, now: str = "") -> None:
        """`done`: like "7 of 25 packages". `now`: what is done at the moment."""
        elapsed_s = self.elapsed_s
        line = f"{self._what}: {done}, {elapsed_s:.0f} s"
        if isinstance(self._say, Terminal):
            self._say.rewrite(f"{line} ({now})" if now else line)
        elif elapsed_s >= self._next_s:
            self._next_s = 2 * elapsed_s
            self._say(line)

    def end(self) -> None:
        """The work ended, in whichever way."""
        if isinstance(self._say, Terminal):
            self._say.clear()
