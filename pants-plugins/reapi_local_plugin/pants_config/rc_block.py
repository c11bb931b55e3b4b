"""Finding our block in a text: the lines between two comment lines.

The second comment records, as JSON, the settings written (`wrote`), the comments for the user
(`notes`), and what else its removal has to undo (`added`): "file" if there was no file, "newline"
if the last line had no line break.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass

from reapi_local_plugin.pants_config.edit import UnsafeEditError
from reapi_local_plugin.pants_config.toml_document import Document, line_end, line_of, line_start

BEGIN = "# >>> reapi-local >>>"
END = "# <<< reapi-local <<<"


class BrokenBlockError(UnsafeEditError):
    """The block was changed since it was written; the message says what to do."""


@dataclass(frozen=True)
class Block:
    """The block fills `text[start:end]`, the lines between its markers `text[first:last]`."""

    start: int
    first: int
    last: int
    end: int
    wrote: tuple[str, ...]
    notes: tuple[str, ...]
    added: tuple[str, ...]


def end_line(wrote: Sequence[str], notes: Sequence[str], added: Sequence[str]) -> str:
    """The second comment of a block."""
    return f"{END} {json.dumps({'wrote': wrote, 'notes': notes, 'added': added})}"


def find_block(document: Document) -> Block | None:
    """The block in a document; None if it has none. Raises BrokenBlockError."""
    text = document.text
    # A marker is a line of its own: not a comment after a value, not part of a string or array.
    lines = [
        (start, end)
        for start, end in document.comments
        if not text[line_start(text, start) : start].strip("\ufeff \t")
    ]
    begins = [line for line in lines if text.startswith(BEGIN, line[0])]
    ends = [line for line in lines if text.startswith(END, line[0])]
    if not begins and not ends:
        return None
    if len(begins) != 1 or len(ends) != 1 or begins[0] > ends[0]:
        where = ", ".join(str(line_of(text, start)) for start, _ in sorted(begins + ends))
        raise BrokenBlockError(
            f"A block of reapi-local is a line `{BEGIN} …`, settings, and a line `{END} …`, once. "
            f"Here only line(s) {where} look like that, so what belongs to it is unclear. Delete "
            "these lines and the settings that belong to them yourself, then try again."
        )
    (begin, _), (end, end_of_line) = begins[0], ends[0]
    wrote, notes, added = _read_record(text[end + len(END) : end_of_line], line_of(text, end))
    return Block(
        start=begin - len(text[line_start(text, begin) : begin].lstrip("\ufeff")),
        first=line_end(text, begin),
        last=line_start(text, end),
        end=line_end(text, end),
        wrote=wrote,
        notes=notes,
        added=added,
    )


def _read_record(source: str, line: int) -> tuple[tuple[str, ...], ...]:
    """The settings, the comments and what was added; older records have no comments."""
    try:
        record = {"notes": (), **json.loads(source)}
        wrote, notes, added = (tuple(map(str, record[key])) for key in ("wrote", "notes", "added"))
        return wrote, notes, added
    except (ValueError, TypeError, KeyError):
        raise BrokenBlockError(
            f"Line {line} ends the block of reapi-local, but its record of the block has been "
            "changed. Delete the block's lines yourself, then try again."
        ) from None
