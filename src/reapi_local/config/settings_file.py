"""The settings file: TOML, with a table for each section of the schema."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from difflib import get_close_matches
from typing import Any, Final

from reapi_local.config.settings import SECTIONS, SETTINGS, TOP, Given

_NAMES: Final = {section.name: [s.name for s in section.settings] for section in SECTIONS}
_SECTIONS: Final = [name for name in _NAMES if name != TOP]


def read_file(file: str) -> tuple[list[Given], list[str]]:
    """The settings in a file, and a sentence for each name that is wrong."""
    import tomllib  # imported late: most servers have no settings file

    try:
        with open(file, "rb") as stream:
            table = tomllib.load(stream)
    except (OSError, ValueError) as error:  # or it isn't valid TOML or UTF-8
        return [], [f"the settings file {file} can't be read: {error}"]
    except RecursionError:
        return [], [f"the settings file {file} can't be read: it is nested too deeply"]
    return read_table(table, file)


def read_table(table: Mapping[str, Any], file: str) -> tuple[list[Given], list[str]]:
    """As :func:`read_file`, for a table that was read from ``file``."""
    given: list[Given] = []
    problems: list[str] = []
    for section, key, value in _entries(table):
        dotted = f"{section}.{key}" if section else key
        if key in _NAMES[section]:
            given.append(Given(SETTINGS[key], value, f"{file}: {dotted}"))
        else:
            problems.append(f"{file}: {dotted} {_what_is_wrong(section, key, value)}")
    return given, problems


def _entries(table: Mapping[str, Any]) -> Iterator[tuple[str, str, Any]]:
    """Section, key and value of each entry; a section that isn't a table is an entry at the top."""
    for name, value in table.items():
        if name in _SECTIONS and isinstance(value, dict):
            yield from ((name, key, inner) for key, inner in value.items())
        else:
            yield TOP, name, value


def _what_is_wrong(section: str, key: str, value: object) -> str:
    """Why this section has no such key, and the key that was probably meant."""
    if section == TOP and key in _SECTIONS:
        return f"must be a section, [{key}]"
    if section == TOP and isinstance(value, dict):
        return f"isn't a section; {_meant(key, _SECTIONS)}"
    if key in SETTINGS:
        return f"belongs {_place(key)}"
    [close] = get_close_matches(key, SETTINGS, n=1) or [""]
    if close and close not in _NAMES[section]:
        return f"isn't a setting; did you mean {close} {_place(close)}?"
    sections = [f"[{name}]" for name in _SECTIONS] if section == TOP else []
    return f"isn't a setting; {_meant(key, [*_NAMES[section], *sections])}"


def _place(name: str) -> str:
    section = SETTINGS[name].section
    return f"in the section [{section}]" if section else "at the top of the file"


def _meant(name: str, names: list[str]) -> str:
    close = get_close_matches(name, names, n=1)
    return f"did you mean {close[0]}?" if close else f"known names: {', '.join(names)}"
