"""The [GLOBAL] table of a Pants configuration file: find it, read it, format a line of it.

Pants refuses a file with two [GLOBAL] headers or with a key that is set twice, and Pants 2.17 also
one with `GLOBAL.key = …`. So a line may only be added where there is one [GLOBAL] table.
"""

from __future__ import annotations

import re
from typing import Union

from reapi_local_plugin.pants_config.edit import UnsafeEditError
from reapi_local_plugin.pants_config.toml_document import Data, Document, TomlTable, line_of, put
from reapi_local_plugin.pants_config.toml_lex import quote
from reapi_local_plugin.pants_config.toml_scan import scan

HEADER = "[GLOBAL]"
_PATH = ("GLOBAL",)

OptionValue = Union[str, bool, int]


def global_options(text: str) -> dict[str, Data]:
    """The options that a configuration file sets in GLOBAL, in whatever form it writes them.

    `x.add = […]` gives {"x": {"add": […]}}. Raises TomlError.
    """
    root: dict[str, Data] = {}
    for table in scan(text).tables:
        if not table.is_array:
            for pair in table.pairs:
                put(root, table.path + pair.key, pair.value.data)
    options = root.get("GLOBAL")
    return options if isinstance(options, dict) else {}


def find_global(document: Document) -> TomlTable | None:
    """The [GLOBAL] table; None if the file has none, so that a new one may go to its end.

    Raises UnsafeEditError if GLOBAL is written in another way.
    """
    for pair in document.tables[0].pairs:
        if pair.key[0] == "GLOBAL":
            raise UnsafeEditError(
                f"line {line_of(document.text, pair.start)} sets GLOBAL without a [GLOBAL] header; "
                "write it as a [GLOBAL] table"
            )
    tables = [table for table in document.tables if table.path == _PATH]
    lines = [line_of(document.text, table.start) for table in tables]
    if len(tables) > 1:
        raise UnsafeEditError(
            f"lines {lines[0]} and {lines[1]} both begin [GLOBAL]; make them one table"
        )
    if tables and tables[0].is_array:
        raise UnsafeEditError(f"line {lines[0]} begins [[GLOBAL]]; write it as [GLOBAL]")
    return tables[0] if tables else None


def line_break(text: str, offset: int) -> str:
    """The line break that the text uses before an offset, else after it, else LF."""
    before, after = text.rfind("\n", 0, offset), text.find("\n", offset)
    nearest = before if before >= 0 else after
    return "\r\n" if nearest > 0 and text[nearest - 1] == "\r" else "\n"


def setting_line(key: str, value: OptionValue) -> str:
    """`key = value` in TOML. Raises ValueError for a key that would need quotes."""
    if not re.fullmatch(r"[A-Za-z0-9_-]+", key):
        raise ValueError(f"not the name of a Pants option: {key!r}")
    return f"{key} = {toml_value(value)}"


def toml_value(value: OptionValue) -> str:
    """The value as TOML writes it."""
    return quote(value) if isinstance(value, str) else str(value).lower()
