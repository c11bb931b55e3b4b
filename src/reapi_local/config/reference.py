"""Generates the tables of the reference page from the schema.

``python -m reapi_local.config.reference docs/reference/server-settings.md`` writes them into the
page, between the comments that mark their places; all other text is unchanged.
With ``--check`` it writes nothing and fails if the page isn't up to date.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from reapi_local.config.settings import SECTIONS, Section, Setting

_MARKED: Final = re.compile(r"(<!-- settings: (\w+) -->\n)(.*?)(<!-- end -->)", re.DOTALL)
_NAME_OF_TOP: Final = "top"


def with_tables(page: str) -> str:
    """The page with up-to-date tables.

    Raises:
        ValueError: the page doesn't have exactly one place for each section.
    """
    sections = {section.name or _NAME_OF_TOP: section for section in SECTIONS}
    marked = [match[2] for match in _MARKED.finditer(page)]
    if sorted(marked) != sorted(sections):
        raise ValueError(f"the page has tables for {marked}, and the schema has {list(sections)}")
    return _MARKED.sub(lambda match: f"{match[1]}\n{_table(sections[match[2]])}\n{match[4]}", page)


def _table(section: Section) -> str:
    return "".join(f"| {' | '.join(cells)} |\n" for cells in _rows(section))


def _rows(section: Section) -> Iterator[tuple[str, ...]]:
    yield ("setting", "default", "value", "meaning")
    yield ("---",) * 4
    for setting in section.settings:
        yield (f"`{setting.name}`", _default(setting), setting.allowed, setting.description)


def _default(setting: Setting) -> str:
    return f"`{setting.default_text}`" if setting.default_text else "–"


def main(arguments: list[str] | None = None) -> int:
    """Write the tables into a page, or check it; returns the exit status."""
    parser = argparse.ArgumentParser(description="The settings of the server in a Markdown page.")
    parser.add_argument("page", type=Path)
    parser.add_argument(
        "--check", action="store_true", help="write nothing; fail if the page differs"
    )
    options = parser.parse_args(arguments)
    page = options.page.read_text(encoding="utf-8")
    made = with_tables(page)
    if not options.check:
        options.page.write_text(made, encoding="utf-8")
    return int(options.check and made != page)


if __name__ == "__main__":
    sys.exit(main())
