"""The smallest pieces of TOML as patterns, and reading the values that contain no other values."""

from __future__ import annotations

import re
from typing import Union

Plain = Union[bool, int, float, str]

# Control characters, a lone carriage return, and the surrogates that stand for invalid UTF-8.
FORBIDDEN = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\ud800-\udfff]|\r(?!\n)")
SPACE = re.compile(r"[ \t]+")
COMMENT = re.compile(r"#[^\r\n]*")
NEWLINE = re.compile(r"\r?\n")
GAP = re.compile(r"(?:[ \t\r\n]|#[^\r\n]*)*")
DOT = re.compile(r"[ \t]*\.[ \t]*")
EQUALS = re.compile(r"[ \t]*=[ \t]*")
BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")

_ESCAPE = r'\\(?:[btnfr"\\]|u[0-9A-Fa-f]{4}|U[0-9A-Fa-f]{8})'
LINE_STRING = re.compile(rf'"(?:[^"\\\r\n]|{_ESCAPE})*"|\'[^\'\r\n]*\'')
_BLOCK_STRING = re.compile(
    rf'"""(?:[^"\\]|""?(?!")|{_ESCAPE}|\\[ \t]*\r?\n)*"{{3,5}}'
    r"|'''(?:[^']|''?(?!'))*'{3,5}"
)
_END = r"(?=[ \t\r\n,\]}#]|\Z)"
_BOOLEAN = re.compile(rf"(?:true|false){_END}")
_WHOLE = r"[+-]?(?:0|[1-9](?:_?[0-9])*)"
_INTEGER = re.compile(
    rf"(?:0x[0-9A-Fa-f](?:_?[0-9A-Fa-f])*|0o[0-7](?:_?[0-7])*|0b[01](?:_?[01])*|{_WHOLE}){_END}"
)
_DIGITS = r"[0-9](?:_?[0-9])*"
_FLOAT = re.compile(rf"(?:{_WHOLE}(?:\.{_DIGITS})?(?:[eE][+-]?{_DIGITS})?|[+-]?(?:inf|nan)){_END}")
_TIME = r"[0-9]{2}:[0-9]{2}:[0-9]{2}(?:\.[0-9]+)?"
_ZONE = r"[Zz]|[+-][0-9]{2}:[0-9]{2}"
_DATE = re.compile(
    rf"(?:[0-9]{{4}}-[0-9]{{2}}-[0-9]{{2}}(?:[Tt ]{_TIME}(?:{_ZONE})?)?|{_TIME}){_END}"
)

_ESCAPED = re.compile(r"\\(u.{4}|U.{8}|[ \t]*\r?\n[ \t\r\n]*|.)")
_CHARACTERS = {"b": "\b", "t": "\t", "n": "\n", "f": "\f", "r": "\r", '"': '"', "\\": "\\"}


def read_plain(text: str, at: int) -> tuple[str, Plain, int] | None:
    """The string, boolean, number or date at an offset: its kind, its data and its end.

    The data of a date or time is its source. None if there is no such value. Raises ValueError for
    an escape that names no character.
    """
    if found := _BLOCK_STRING.match(text, at):
        return "string", unquote(found.group(), 3), found.end()
    if text.startswith(('"""', "'''"), at):
        return None  # it is not closed, and its first two quotes are not an empty string
    if found := LINE_STRING.match(text, at):
        return "string", unquote(found.group(), 1), found.end()
    if found := _BOOLEAN.match(text, at):
        return "boolean", found.group() == "true", found.end()
    if found := _INTEGER.match(text, at):
        return "number", int(found.group(), 0), found.end()
    if found := _FLOAT.match(text, at):
        return "number", float(found.group()), found.end()
    if found := _DATE.match(text, at):
        return "date", found.group(), found.end()
    return None


def unquote(source: str, quotes: int) -> str:
    """The text of a string, given its source and the number of quotes on each side.

    Raises ValueError for an escape that names no character.
    """
    inner = source[quotes:-quotes]
    if quotes == 3:
        inner = re.sub(r"\A\r?\n", "", inner)
    return inner if source[0] == "'" else _ESCAPED.sub(_unescape, inner)


def quote(text: str) -> str:
    """The source of a string on one line with this text."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return '"' + re.sub(r"[\x00-\x1f\x7f]", lambda c: f"\\u{ord(c.group()):04x}", escaped) + '"'


def _unescape(match: re.Match[str]) -> str:
    escape = match.group(1)
    if escape[0] not in "uU":
        return _CHARACTERS.get(escape, "")  # "" for a backslash at the end of a line
    code = int(escape[1:], 16)
    if code > 0x10FFFF or 0xD800 <= code <= 0xDFFF:
        raise ValueError(f"`{match.group()}` is no character")
    return chr(code)
