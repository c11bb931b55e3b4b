"""Putting our block into `.pants.rc`, and removing it so that the file is as it was before.

The block holds the settings that make Pants use the server.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from reapi_local_plugin.pants_config.edit import Plan, UnsafeEditError, edit_file
from reapi_local_plugin.pants_config.global_table import (
    HEADER,
    OptionValue,
    find_global,
    line_break,
    setting_line,
)
from reapi_local_plugin.pants_config.rc_block import (
    BEGIN,
    Block,
    BrokenBlockError,
    end_line,
    find_block,
)
from reapi_local_plugin.pants_config.toml_document import (
    Document,
    TomlError,
    TomlTable,
    line_end,
    line_start,
)
from reapi_local_plugin.pants_config.toml_scan import scan

_NOTE = "written by `pants reapi-up`, removed by `pants reapi-down`; keep your own lines outside"
# What to do where `pants reapi-down` fails too, because this checkout does not load the plugin.
_RESCUE = (
    "# If every command fails here, run `reapi-local unwire`, or delete this block by hand.",
    "# `pants --no-pantsrc COMMAND` runs one command without it.",
)


def put_block(path: Path, wanted: Mapping[str, OptionValue]) -> Plan:
    """Put the block into a file. Raises EditError."""
    return edit_file(path, lambda text: plan_put(text, wanted))


def remove_block(path: Path) -> Plan:
    """Take the block out of a file. Raises EditError."""
    return edit_file(path, plan_removal)


def plan_put(text: str | None, wanted: Mapping[str, OptionValue]) -> Plan:
    """The text with the wanted settings of [GLOBAL] in the block; a text of None means no file.

    A setting that the user made is kept. A block that is there is replaced at its place, and
    `removed` has the lines that it no longer holds.

    Raises:
        ValueError: a key is not the name of an option.
    """
    lines = {key: setting_line(key, value) for key, value in wanted.items()}
    try:
        rest = _take_out(text)
        plan = _put_in(rest, lines)
        gone = tuple(line for line in rest.removed if line not in plan.written)
        added = tuple(line for line in plan.written if line not in rest.removed)
        return replace(plan, added=added, removed=gone, left=rest.left)
    except BrokenBlockError as problem:
        return Plan(text, refusal=str(problem))
    except (UnsafeEditError, TomlError) as problem:
        refusal = f"{problem}. Change that and try again, or put the lines in yourself."
        return Plan(text, refusal=refusal, paste=(HEADER, *lines.values()))


def plan_removal(text: str | None) -> Plan:
    """The text without the block, but with the user's lines; None if the file was only ours."""
    try:
        rest = _take_out(text)
    except BrokenBlockError as problem:
        return Plan(text, refusal=str(problem))
    except TomlError as problem:
        refusal = f"{problem}. Change that and try again, or delete the block yourself."
        return Plan(text, refusal=refusal)
    return Plan(rest.text, removed=rest.removed, left=rest.left)


@dataclass(frozen=True)
class _Rest:
    """A text without the block, which began at offset `at`; None if there was no block.

    `file_was_ours`: the block made the file. `removed` and `left`: our lines that were in the
    block, and the user's lines among them, which stay.
    """

    text: str | None
    at: int | None = None
    file_was_ours: bool = False
    removed: tuple[str, ...] = ()
    left: tuple[str, ...] = ()


def _put_in(rest: _Rest, lines: Mapping[str, str]) -> Plan:
    """The text with a block of those lines whose options the user has not set."""
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
    newline = line_break(text, at)
    lines_of_block = (f"{BEGIN} {_NOTE}", *_RESCUE, *wrote, end_line(wrote, _RESCUE, added))
    block = "".join(line + newline for line in lines_of_block)
    new = text[:at] + ("" if starts_line else newline) + block + text[at:]
    return Plan(new, written=tuple(wrote), kept=kept)


def _settings(document: Document, table: TomlTable | None) -> dict[str, str]:
    """Every option that is set in [GLOBAL], with the source of its value."""
    found = {
        other.path[1]: document.text[other.body : other.end].strip()
        for other in document.tables
        if other.path[:1] == ("GLOBAL",) and len(other.path) > 1
    }
    for pair in table.pairs if table else ():
        found[pair.key[0]] = document.text[pair.value.start : pair.value.end]
    return found


def _place(document: Document, table: TomlTable | None, before: int | None) -> int:
    """The offset for the block: the same as before, if it is still in [GLOBAL]."""
    if table is not None:
        if before is not None and table.body <= before <= table.end:
            return before
        return table.body
    end = len(document.text)
    if before is None:
        return end
    # Below a header of ours, the lines of another table would belong to [GLOBAL].
    around = next(other for other in document.tables if before <= other.end)
    return end if any(pair.start >= before for pair in around.pairs) else before


def _take_out(text: str | None) -> _Rest:
    """The text without the block. Raises BrokenBlockError and TomlError."""
    document = scan(text or "")
    block = find_block(document)
    if text is None or block is None:
        return _Rest(text)
    cuts: list[tuple[int, int]] = []
    for table in document.tables:
        lines = [
            (line_start(text, pair.start), line_end(text, pair.value.end)) for pair in table.pairs
        ]
        ours = [line for line in lines if _is_ours(text, block, line)]
        cuts += ours
        # Our header stays if the user put settings below it.
        if ours == lines and _is_ours(text, block, (table.start, table.body)):
            cuts.append((table.start, table.body))
    between = _without(text, block.first, block.last, [*cuts, *_our_comments(document, block)])
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


def _our_comments(document: Document, block: Block) -> list[tuple[int, int]]:
    """The lines in the block that are comments of ours."""
    text = document.text
    lines = [(line_start(text, start), line_end(text, end)) for start, end in document.comments]
    return [
        (start, end)
        for start, end in lines
        if block.first <= start and end <= block.last and text[start:end].strip() in block.notes
    ]


def _is_ours(text: str, block: Block, line: tuple[int, int]) -> bool:
    start, end = line
    return block.first <= start and end <= block.last and text[start:end].strip() in block.wrote


def _without(text: str, start: int, end: int, cuts: list[tuple[int, int]]) -> str:
    """`text[start:end]` without the cuts."""
    parts = []
    for cut_start, cut_end in sorted(cuts):
        parts.append(text[start:cut_start])
        start = cut_end
    return "".join(parts) + text[start:end]
