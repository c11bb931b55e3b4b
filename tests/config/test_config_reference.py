"""The command that writes the tables of the reference page."""

from __future__ import annotations

from pathlib import Path

import pytest

from reapi_local.config.reference import main, with_tables
from reapi_local.config.settings import SECTIONS, SETTINGS

EMPTY = "".join(
    f"## {name}\n\n<!-- settings: {name} -->\n<!-- end -->\n"
    for name in (section.name or "top" for section in SECTIONS)
)


def test_the_tables_are_written_and_checked(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(EMPTY, encoding="utf-8")
    assert main([str(page), "--check"]) == 1
    assert page.read_text(encoding="utf-8") == EMPTY
    assert main([str(page)]) == 0
    assert main([str(page), "--check"]) == 0
    written = page.read_text(encoding="utf-8")
    for setting in SETTINGS.values():
        assert f"| `{setting.name}` |" in written
        assert setting.description in written


def test_what_is_around_the_tables_stays() -> None:
    page = f"before\n{EMPTY}after\n"
    made = with_tables(page)
    assert made.startswith("before\n## top\n")
    assert made.endswith("<!-- end -->\nafter\n")
    assert with_tables(made) == made


def test_a_page_without_a_place_for_a_section_is_refused() -> None:
    with pytest.raises(ValueError, match="listen"):
        with_tables(EMPTY.replace("settings: listen", "settings: colours"))
