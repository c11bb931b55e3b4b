"""A TOML text as its tables, keys and values, each with its place in the text.

So an edit can leave all other characters as they are. Offsets count characters of the text.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Union

Key = tuple[str, ...]
"""The parts of a key or a header without their quotes: `a."b c"` is ("a", "b c")."""

Data = Union[bool, int, float, str, list["Data"], dict[str, "Data"]]


class TomlError(ValueError):
    """The scanner does not understand the text. `line` counts from 1."""

    def __init__(self, line: int, problem: str) -> None:
        super().__init__(f"line {line}: {problem}")
        self.line = line


@dataclass(frozen=True)
class Value:
    """A value: its meaning (`data`) and its place, `text[start:end]`.

    `kind` is string, boolean, number, date, array or table. The data of a date is its source. An
    array has `items`, and `comma` is the offset after its trailing comma. An inline table has
    `pairs`.
    """

    kind: str
    data: Data
    start: int
    end: int
    items: tuple[Value, ...] = ()
    comma: int | None = None
    pairs: tuple[Pair, ...] = ()


@dataclass(frozen=True)
class Pair:
    """`key = value`; the key begins at `start`."""

    key: Key
    start: int
    value: Value


@dataclass(frozen=True)
class TomlTable:
    """A header, whose line begins at `start`, and the lines below it, `text[body:end]`.

    `is_array`: the header has two brackets.
    """

    path: Key
    is_array: bool
    start: int
    body: int
    end: int
    pairs: tuple[Pair, ...]


@dataclass(frozen=True)
class Document:
    """A scanned text. `tables[0]` is the root; `comments` are places of comments outside values."""

    text: str
    tables: tuple[TomlTable, ...]
    comments: tuple[tuple[int, int], ...]


def line_of(text: str, offset: int) -> int:
    """The number of the line that holds an offset; the first one is 1."""
    return text.count("\n", 0, offset) + 1


def line_start(text: str, offset: int) -> int:
    """The offset where the line that holds `offset` begins."""
    return text.rfind("\n", 0, offset) + 1


def line_end(text: str, offset: int) -> int:
    """The offset where the next line begins, or the end of the text."""
    return text.find("\n", offset) + 1 or len(text)


def put(into: dict[str, Data], key: Key, data: Data) -> bool:
    """Set a dotted key. Returns False if it is set already, or if a part of it is not a table."""
    for part in key[:-1]:
        step = into.setdefault(part, {})
        if not isinstance(step, dict):
            return False
        into = step
    if key[-1] in into:
        return False
    into[key[-1]] = data
    return True
