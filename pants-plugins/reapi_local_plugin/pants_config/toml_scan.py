"""A scanner for TOML, because CPython 3.9 has no parser and that of later releases keeps no places.

It refuses what it does not understand, and never guesses.
"""

from __future__ import annotations

import re

from reapi_local_plugin.pants_config import toml_lex as lex
from reapi_local_plugin.pants_config.toml_document import (
    Data,
    Document,
    Key,
    Pair,
    TomlError,
    TomlTable,
    Value,
    line_of,
    put,
)


def scan(text: str) -> Document:
    """Scan a whole text with LF or CRLF line ends; it may begin with a byte order mark.

    A key or table that is there twice is no error here: the code that extends a table checks it.
    Raises TomlError. Source: TOML 1.0.0.
    """
    if bad := lex.FORBIDDEN.search(text):
        raise TomlError(line_of(text, bad.start()), f"the character {bad.group()!a} is not allowed")
    scanner = _Scanner(text)
    try:
        return scanner.document()
    except RecursionError:
        raise scanner.error("values are nested too deeply") from None


class _Scanner:
    """A recursive-descent scanner; `at` is the offset of the next character."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.at = 1 if text.startswith("\ufeff") else 0
        self.comments: list[tuple[int, int]] = []

    def document(self) -> Document:
        tables: list[TomlTable] = []
        path: Key = ()
        is_array, start, body = False, self.at, self.at
        pairs: list[Pair] = []
        while self.at < len(self.text):
            line = self.at
            self.take(lex.SPACE)
            if self.text.startswith("[", self.at):
                tables.append(TomlTable(path, is_array, start, body, line, tuple(pairs)))
                path, is_array = self.header()
                self.finish_line()
                start, body, pairs = line, self.at, []
            else:
                if self.text[self.at : self.at + 1] not in ("#", "\r", "\n", ""):
                    pairs.append(self.pair())
                self.finish_line()
        tables.append(TomlTable(path, is_array, start, body, self.at, tuple(pairs)))
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
