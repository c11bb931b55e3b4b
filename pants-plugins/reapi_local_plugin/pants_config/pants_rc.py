"""The block in `.pants.rc` that makes Pants use the server: put in, and taken out without a trace.

The block stands between two comment lines. The second one records, as JSON, the lines written
(`wrote`) and what else removal has to undo (`added`): "file", a file that was not there, and
"newline", a line break the last line lacked.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from reapi_local_plugin.pants_config.edit import Plan, UnsafeEditError, edit_file
from reapi_local_plugin.pants_config.global_table import (
    HEADER,
    Setting,
    find_global,
    line_break,
    setting_line,
)
from reapi_local_plugin.pants_config.toml_scan import (
    Document,
    Table,
    TomlError,
    line_end,
    line_of,
    line_start,
    scan,
)

BEGIN = "# >>> reapi-local >>>"
END = "# <<< reapi-local <<<"
_NOTE = "written by `pants reapi-up`, removed by `pants reapi-down`; keep your own lines outside"


def up(path: Path, wanted: Mapping[str, Setting]) -> Plan:
    """Put the block into a file. Raises: EditError."""
    return edit_file(path, lambda text: plan_up(text, wanted))


def down(path: Path) -> Plan:
    """Take the block out of a file. Raises: EditError."""
    return edit_file(path, plan_down)


def plan_up(text: str | None, wanted: Mapping[str, Setting]) -> Plan:
    """The text with the wanted GLOBAL settings in the block; None stands for no file.

    A setting the user has made is kept. A block already there is replaced where it stands, and what
    it no longer holds is `removed`.

    Raises: ValueError for a key that is not the name of an option.
    """
    lines = {key: setting_line(key, value) for key, value in wanted.items()}
    try:
        rest = _take_out(text)
        plan = _put_in(rest, lines)
        gone = tuple(line for line in rest.removed if line not in plan.written)
        return replace(plan, removed=gone, left=rest.left)
    except BrokenBlockError as problem:
        return Plan(text, refusal=str(problem))
    except (UnsafeEditError, TomlError) as problem:
        refusal = f"{problem}. Change that and try again, or put the lines in yourself."
        return Plan(text, refusal=refusal, paste=(HEADER, *lines.values()))


def plan_down(text: str | None) -> Plan:
    """The text without the block, user's lines kept; None when there was no file before it."""
    try:
        rest = _take_out(text)
    except BrokenBlockError as problem:
        return Plan(text, refusal=str(problem))
    except TomlError as problem:
        refusal = f"{problem}. Change that and try again, or delete the block yourself."
        return Plan(text, refusal=refusal)
    return Plan(rest.text, removed=rest.removed, left=rest.left)


class BrokenBlockError(UnsafeEditError):
    """The block is not as it was written; the message says what to do."""


@dataclass(frozen=True)
class _Rest:
    """A text without the block, which stood at offset `at`."""

    text: str | None
    at: int | None = None
    file_was_ours: bool = False
    removed: tuple[str, ...] = ()
    left: tuple[str, ...] = ()


@dataclass(frozen=True)
class _Block:
    """The block fills `text[start:end]`, the lines between its markers `text[first:last]`."""

    start: int
    first: int
    last: int
    end: int
    wrote: tuple[str, ...]
    added: tuple[str, ...]


def _put_in(rest: _Rest, lines: Mapping[str, str]) -> Plan:
    text = rest.text or ""
    document = scan(text)
    table = find_global(document)
    kept = _settings(document, table)
    ours = [line for key, line in lines.items() if key not in kept]
    kept = {key: value for key, value in kept.items() if key in lines}
    if not ours:
        return Plan(rest.text, kept=kept)
    at = _place(document, table, rest.at)
    wrote = ours if table else [HEADER, *ours]
    starts_line = at == document.tables[0].start or text[at - 1] == "\n"
    added = ["file"] * (rest.text is None or rest.file_was_ours) + ["newline"] * (not starts_line)
    end = f"{END} {json.dumps({'wrote': wrote, 'added': added})}"
    newline = line_break(text, at)
    block = "".join(line + newline for line in (f"{BEGIN} {_NOTE}", *wrote, end))
    new = text[:at] + ("" if starts_line else newline) + block + text[at:]
    return Plan(new, written=tuple(wrote), kept=kept)


def _settings(document: Document, table: Table | None) -> dict[str, str]:
    """Every option set in GLOBAL, with its value as it is written."""
    found = {
        other.path[1]: document.text[other.body : other.end].strip()
        for other in document.tables
        if other.path[:1] == ("GLOBAL",) and len(other.path) > 1
    }
    for pair in table.pairs if table else ():
        found[pair.key[0]] = document.text[pair.value.start : pair.value.end]
    return found


def _place(document: Document, table: Table | None, before: int | None) -> int:
    """Where the block goes: where it was before if that is still right."""
    if table is not None:
        if before is not None and table.body <= before <= table.end:
            return before
        return table.body
    end = len(document.text)
    if before is None:
        return end
    # A header of ours must not take over lines of the table it is put into.
    around = next(other for other in document.tables if before <= other.end)
    return end if any(pair.start >= before for pair in around.pairs) else before


def _take_out(text: str | None) -> _Rest:
    document = scan(text or "")
    block = _find_block(document)
    if text is None or block is None:
        return _Rest(text)
    cuts: list[tuple[int, int]] = []
    for table in document.tables:
        lines = [
            (line_start(text, pair.start), line_end(text, pair.value.end)) for pair in table.pairs
        ]
        ours = [line for line in lines if _is_ours(text, block, line)]
        cuts += ours
        # The user's own settings below our header need it.
        if ours == lines and _is_ours(text, block, (table.start, table.body)):
            cuts.append((table.start, table.body))
    between = _without(text, block.first, block.last, cuts)
    if not between.strip():
        between = ""
    before, after = text[: block.start], text[block.end :]
    if "newline" in block.added and not between and not after:
        before = before.removesuffix("\n").removesuffix("\r")
    rest = before + between + after
    file_was_ours = "file" in block.added
    is_gone = file_was_ours and not rest.strip("\ufeff \t\r\n")
    return _Rest(
        text=None if is_gone else rest,
        at=None if is_gone else len(before),
        file_was_ours=file_was_ours,
        removed=tuple(text[start:end].strip() for start, end in sorted(cuts)),
        left=tuple(
            line.rstrip("\r") for line in between.split("\n") if line.strip() not in ("", HEADER)
        ),
    )


def _is_ours(text: str, block: _Block, line: tuple[int, int]) -> bool:
    start, end = line
    return block.first <= start and end <= block.last and text[start:end].strip() in block.wrote


def _without(text: str, start: int, end: int, cuts: list[tuple[int, int]]) -> str:
    parts = []
    for cut_start, cut_end in sorted(cuts):
        parts.append(text[start:cut_start])
        start = cut_end
    return "".join(parts) + text[start:end]


def _find_block(document: Document) -> _Block | None:
    text = document.text
    # A comment behind a header or value is no marker, nor is anything inside a string or array.
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
    wrote, added = _read_record(text[end + len(END) : end_of_line], line_of(text, end))
    return _Block(
        start=begin - len(text[line_start(text, begin) : begin].lstrip("\ufeff")),
        first=line_end(text, begin),
        last=line_start(text, end),
        end=line_end(text, end),
        wrote=wrote,
        added=added,
    )


def _read_record(source: str, line: int) -> tuple[tuple[str, ...], tuple[str, ...]]:
    try:
        record = json.loads(source)
        return tuple(map(str, record["wrote"])), tuple(map(str, record["added"]))
    except (ValueError, TypeError, KeyError):
        raise BrokenBlockError(
            f"Line {line} ends the block of reapi-local, but its record of the block has been "
            "changed. Delete the block's lines yourself, then try again."
        ) from None
