"""Where each table, key, value and comment of a TOML text stands: an edit can leave the rest alone.

CPython 3.9 has no TOML parser, and the parser of later releases keeps no positions. The scanner
refuses what it does not understand; it never guesses. Offsets count characters of the text.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Union

from reapi_local_plugin.pants_config import toml_lex as lex

Key = tuple[str, ...]
"""The parts of a key or a header without their quotes: `a."b c"` is ("a", "b c")."""

Data = Union[bool, int, float, str, list["Data"], dict[str, "Data"]]


class TomlError(ValueError):
    """The text is not TOML as the scanner knows it. `line` counts from 1."""

    def __init__(self, line: int, problem: str) -> None:
        super().__init__(f"line {line}: {problem}")
        self.line = line


@dataclass(frozen=True)
class Value:
    """A value: what it says (`data`) and where it stands, `text[start:end]`.

    `kind` is string, boolean, number, date, array or table; a date has its source as data.
    `items` are those of an array, `comma` is the end of its trailing comma; `pairs` are those of an
    inline table.
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
class Table:
    """A header, whose line begins at `start`, and the lines below it, `text[body:end]`."""

    path: Key
    is_array: bool
    start: int
    body: int
    end: int
    pairs: tuple[Pair, ...]


@dataclass(frozen=True)
class Document:
    """A scanned text. `tables[0]` is the root; `comments` are spans of those outside values."""

    text: str
    tables: tuple[Table, ...]
    comments: tuple[tuple[int, int], ...]


def scan(text: str) -> Document:
    """Scan a whole text with LF or CRLF line ends; it may begin with a byte order mark.

    A key or table given twice is let pass: whoever extends a table checks that table.

    Raises: TomlError. Source: TOML 1.0.0.
    """
    if bad := lex.FORBIDDEN.search(text):
        raise TomlError(line_of(text, bad.start()), f"the character {bad.group()!a} is not allowed")
    scanner = _Scanner(text)
    try:
        return scanner.document()
    except RecursionError:
        raise scanner.error("values are nested too deeply") from None


def line_of(text: str, offset: int) -> int:
    """The number of the line an offset is in, from 1."""
    return text.count("\n", 0, offset) + 1


def line_start(text: str, offset: int) -> int:
    """Where the line of an offset begins."""
    return text.rfind("\n", 0, offset) + 1


def line_end(text: str, offset: int) -> int:
    """Where the line after an offset begins, or the end of the text."""
    return text.find("\n", offset) + 1 or len(text)


def put(into: dict[str, Data], key: Key, data: Data) -> bool:
    """Set a dotted key; False when it is set already or leads through what is no table."""
    for part in key[:-1]:
        step = into.setdefault(part, {})
        if not isinstance(step, dict):
            return False
        into = step
    if key[-1] in into:
        return False
    into[key[-1]] = data
    return True


class _Scanner:
    """Recursive descent; `at` is the offset of the next character."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.at = 1 if text.startswith("\ufeff") else 0
        self.comments: list[tuple[int, int]] = []

    def document(self) -> Document:
        tables: list[Table] = []
        path: Key = ()
        is_array, start, body = False, self.at, self.at
        pairs: list[Pair] = []
        while self.at < len(self.text):
            line = self.at
            self.take(lex.SPACE)
            if self.text.startswith("[", self.at):
                tables.append(Table(path, is_array, start, body, line, tuple(pairs)))
                path, is_array = self.header()
                self.finish_line()
                start, body, pairs = line, self.at, []
            else:
                if self.text[self.at : self.at + 1] not in ("#", "\r", "\n", ""):
                    pairs.append(self.pair())
                self.finish_line()
        tables.append(Table(path, is_array, start, body, self.at, tuple(pairs)))
        return Document(self.text, tuple(tables), tuple(self.comments))

    def finish_line(self) -> None:
        self.take(lex.SPACE)
        start = self.at
        if self.take(lex.COMMENT):
            self.comments.append((start, self.at))
        if not self.take(lex.NEWLINE) and self.at < len(self.text):
            raise self.error("expected the end of the line")

    def header(self) -> tuple[Key, bool]:
        is_array = self.take_word("[[")
        if not is_array:
            self.take_word("[")
        self.take(lex.SPACE)
        path = self.key()
        self.take(lex.SPACE)
        if not self.take_word("]]" if is_array else "]"):
            raise self.error("the table header is not closed")
        return path, is_array

    def pair(self) -> Pair:
        start = self.at
        key = self.key()
        if not self.take(lex.EQUALS):
            raise self.error("expected `=` after the key")
        return Pair(key, start, self.value())

    def key(self) -> Key:
        parts: list[str] = []
        while not parts or self.take(lex.DOT):
            if bare := self.take(lex.BARE_KEY):
                parts.append(bare)
            elif quoted := self.take(lex.LINE_STRING):
                try:
                    parts.append(lex.unquote(quoted, 1))
                except ValueError as problem:
                    raise self.error(str(problem)) from None
            else:
                raise self.error("expected a key")
        return tuple(parts)

    def value(self) -> Value:
        start = self.at
        if self.take_word("["):
            return self.array(start)
        if self.take_word("{"):
            return self.inline_table(start)
        try:
            plain = lex.read_plain(self.text, start)
        except ValueError as problem:
            raise self.error(str(problem)) from None
        if plain is None:
            raise self.error("expected a value")
        kind, data, self.at = plain
        return Value(kind, data, start, self.at)

    def array(self, start: int) -> Value:
        items: list[Value] = []
        comma: int | None = None
        self.take(lex.GAP)
        while not self.take_word("]"):
            if items and comma is None:
                raise self.error("expected `,` or `]` in the array")
            items.append(self.value())
            self.take(lex.GAP)
            comma = self.at if self.take_word(",") else None
            self.take(lex.GAP)
        data: Data = [item.data for item in items]
        return Value("array", data, start, self.at, tuple(items), comma)

    def inline_table(self, start: int) -> Value:
        pairs: list[Pair] = []
        data: dict[str, Data] = {}
        self.take(lex.SPACE)
        closed = self.take_word("}")
        while not closed:
            pair = self.pair()
            if not put(data, pair.key, pair.value.data):
                raise self.error("the inline table sets a key twice")
            pairs.append(pair)
            self.take(lex.SPACE)
            closed = self.take_word("}")
            if not closed and not self.take_word(","):
                raise self.error("expected `,` or `}` in the inline table")
            self.take(lex.SPACE)
        return Value("table", data, start, self.at, pairs=tuple(pairs))

    def take(self, pattern: re.Pattern[str]) -> str | None:
        found = pattern.match(self.text, self.at)
        if found is None:
            return None
        self.at = found.end()
        return found.group()

    def take_word(self, word: str) -> bool:
        found = self.text.startswith(word, self.at)
        self.at += len(word) if found else 0
        return found

    def error(self, problem: str) -> TomlError:
        return TomlError(line_of(self.text, self.at), problem)
