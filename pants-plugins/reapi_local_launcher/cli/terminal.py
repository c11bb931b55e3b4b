"""The pieces of text output: 80 columns through any `write(str)`, or one JSON document."""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TextIO

from reapi_contract.printable import printable
from reapi_local_launcher.progress import Say, Terminal

Write = Callable[[str], object]

WIDTH = 80
_UNBROKEN = "\0"


@dataclass(frozen=True)
class Style:
    """Whether text may be coloured: only on a terminal, and only if NO_COLOR is not set."""

    colour: bool = False

    def good(self, text: str) -> str:
        return self._wrap("32", text)

    def bad(self, text: str) -> str:
        return self._wrap("31", text)

    def strong(self, text: str) -> str:
        return self._wrap("1", text)

    def _wrap(self, code: str, text: str) -> str:
        return f"\x1b[{code}m{text}\x1b[0m" if self.colour else text


PLAIN = Style()


def style_of(stream: TextIO) -> Style:
    """The style for what is written to a stream."""
    return Style(colour=stream.isatty() and not os.environ.get("NO_COLOR"))


def escape_what_cannot_be_shown() -> None:
    """Let the standard streams write any character, escaped if their encoding does not have it.

    A name that is not UTF-8 has such characters in every encoding.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def showable(text: str) -> str:
    """The text with what UTF-8 cannot encode escaped: bytes of a name that is not UTF-8."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


def _write_progress(text: str) -> None:
    sys.stderr.write(text)
    sys.stderr.flush()


def _progress_line(line: str) -> None:
    _write_progress(f"{line}\n")


progress: Say = Terminal(_write_progress) if sys.stderr.isatty() else _progress_line
"""Says on standard error what is done at the moment; a terminal's last line is rewritten."""


def write_json(content: object, write: Write) -> None:
    """One JSON document in ASCII, so that every encoding can show it, and a line break."""
    import json

    write(json.dumps(content, indent=2) + "\n")


def fields(rows: Sequence[tuple[str, str]], write: Write) -> None:
    """One line for each name and its value."""
    width = max(len(name) for name, _ in rows)
    for name, value in rows:
        write(f"  {name:<{width}}  {value}\n")


def notes(sentences: Sequence[str], write: Write, style: Style) -> None:
    """Sentences that the user should know in addition to the result."""
    for note in sentences:
        indented(style.strong("note:  "), note, write, lead_width=7)


def wrapped(text: str, width: int) -> list[str]:
    """The lines of a text, at least one. Paths, flags and what is in backticks stay whole."""
    import re
    import textwrap

    whole = re.sub("`[^`]*`", lambda command: command.group().replace(" ", _UNBROKEN), text)
    lines = textwrap.wrap(whole, width, break_long_words=False, break_on_hyphens=False)
    return [line.replace(_UNBROKEN, " ") for line in lines] or [""]


def indented(lead: str, text: str, write: Write, lead_width: int | None = None) -> None:
    """A lead and a text: its first line is wrapped, further lines such as those of a log are not.

    What is in backticks stays on one line, so that a command can be copied.
    `lead_width`: the columns of a lead that has colour codes.
    """
    indent = (len(lead) if lead_width is None else lead_width) + 1
    first, *more = printable(text, "\n").split("\n")
    begin, *rest = wrapped(first, WIDTH - indent)
    write(f"{lead} {begin}\n")
    for line in rest:
        write(" " * indent + line + "\n")
    for line in more:
        write(f"{line}\n")


def table(
    header: tuple[str, ...], rows: Sequence[tuple[str, ...]], write: Write, style: Style
) -> None:
    """A table below an empty line; nothing if there are no rows.

    The first column has the width that the others leave, and a longer name loses its beginning.
    """
    if not rows:
        return
    widths = [max(map(len, column)) for column in zip(header, *rows)]
    widths[0] = min(widths[0], WIDTH - sum(widths[1:]) - 2 * len(widths))
    write("\n")
    for number, row in enumerate([header, *rows]):
        name = row[0] if len(row[0]) <= widths[0] else "…" + row[0][-widths[0] + 1 :]
        numbers = "".join(f"  {cell:>{width}}" for cell, width in zip(row[1:], widths[1:]))
        line = f"  {name:<{widths[0]}}{numbers}"
        write((style.strong(line) if number == 0 else line) + "\n")
