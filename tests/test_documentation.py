"""What the reference pages list is what there is, and links lead somewhere."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from reapi_local.cli import make_parser
from reapi_local.config.schema import SETTINGS
from reapi_local.execute.sandbox.host import hidden_paths
from reapi_local_launcher.cli import main as launcher_cli

ROOT = Path(__file__).resolve().parent.parent
PAGES = [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").rglob("*.md"))]


def listed_first(page: str) -> set[str]:
    """The words in the first column of the page's tables."""
    text = (ROOT / "docs" / "reference" / page).read_text(encoding="utf-8")
    return set(re.findall(r"^\| `(?:pants )?([\w-]+)` \|", text, re.MULTILINE))


def quoted(text: str) -> set[str]:
    return set(re.findall(r"`([^`\n]+)`", text))


def test_every_setting_of_the_server_is_documented_and_no_other() -> None:
    page = (ROOT / "docs" / "reference" / "server-settings.md").read_text(encoding="utf-8")
    table = page.partition("## Files")[0]
    documented = set(re.findall(r"^\| `(\w+)` \|", table, re.MULTILINE))
    assert documented == set(SETTINGS)


def test_every_setting_of_the_server_is_a_flag() -> None:
    help_text = make_parser().parse_args(["serve"])
    assert set(SETTINGS) <= set(vars(help_text))


def test_every_option_of_the_plugin_is_documented_and_no_other() -> None:
    source = (ROOT / "pants-plugins" / "reapi_local_plugin" / "subsystem.py").read_text()
    options = set(re.findall(r"^    (\w+) = \w+Option\(", source, re.MULTILINE))
    assert listed_first("plugin-options.md") == options


def test_every_command_and_goal_is_documented_and_no_other() -> None:
    goals = {"reapi-up", "reapi-check", "reapi-down"}
    assert listed_first("commands.md") == goals | set(launcher_cli._COMMANDS)


def test_what_is_hidden_from_actions_is_documented_and_nothing_else() -> None:
    page = (ROOT / "docs" / "reference" / "sandbox.md").read_text(encoding="utf-8")
    hidden, _, rest = page.partition("## What is hidden")[2].partition("\n## ")
    introduction, _, tables = hidden.partition("\n| ")
    assert quoted(tables) == {*hidden_paths.SECRET_DIRECTORIES, *hidden_paths.SECRET_FILES}
    assert quoted(introduction) == {*hidden_paths.DAEMON_DIRECTORIES, "/run", "/var/run"}
    assert set(hidden_paths.TOOLCHAIN_DIRECTORIES) <= quoted(rest)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_relative_link_leads_to_a_file(page: Path) -> None:
    links = re.findall(r"\]\((?!https?:)([^)#\s]+)", page.read_text(encoding="utf-8"))
    missing = [link for link in links if not (page.parent / link).exists()]
    assert not missing
