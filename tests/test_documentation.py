"""What the reference pages list is what there is, and links lead somewhere."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from reapi_local.config.reference import with_tables
from reapi_local.config.sources import load
from reapi_local.execute.sandbox.host.private_files import CREDENTIALS
from reapi_local.execute.sandbox.host.toolchains import TOOLCHAINS
from reapi_local.execute.sandbox.host.zones import DAEMON_DIRECTORIES
from reapi_local_launcher.cli.arguments import make_parser

ROOT = Path(__file__).resolve().parent.parent
PAGES = [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").rglob("*.md"))]


def listed_first(page: str) -> set[str]:
    """The words in the first column of the page's tables."""
    text = (ROOT / "docs" / "reference" / page).read_text(encoding="utf-8")
    return set(re.findall(r"^\| `(?:pants )?([\w-]+)` \|", text, re.MULTILINE))


def quoted(text: str) -> set[str]:
    return set(re.findall(r"`([^`\n]+)`", text))


def test_the_settings_of_the_server_are_documented_as_the_schema_has_them() -> None:
    page = (ROOT / "docs" / "reference" / "server-settings.md").read_text(encoding="utf-8")
    assert with_tables(page) == page, "see the comment in the page for the command that writes it"


@pytest.mark.parametrize("page", ["reference/server-settings", "how-to/supervised", "how-to/team"])
def test_a_settings_file_in_the_documentation_is_one(page: str, tmp_path: Path) -> None:
    text = (ROOT / "docs" / f"{page}.md").read_text(encoding="utf-8")
    blocks = re.findall(r"^```toml\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    [content] = (block for block in blocks if "data_dir" in block)
    file = tmp_path / "settings.toml"
    file.write_text(content, encoding="utf-8")
    load({}, {}, str(file))


def test_every_option_of_the_plugin_is_documented_and_no_other() -> None:
    source = (ROOT / "pants-plugins" / "reapi_local_plugin" / "subsystem.py").read_text()
    options = set(re.findall(r"^    (\w+) = \w+Option\(", source, re.MULTILINE))
    assert listed_first("plugin-options.md") == options


def test_every_command_and_goal_is_documented_and_no_other() -> None:
    goals = {"reapi-up", "reapi-check", "reapi-explain", "reapi-down"}
    assert listed_first("commands.md") == goals | set(make_parser().commands)


def test_what_actions_see_of_homes_is_documented_and_nothing_else() -> None:
    page = (ROOT / "docs" / "reference" / "sandbox.md").read_text(encoding="utf-8")
    seen = page.partition("## What is seen of homes")[2].partition("\n## ")[0]
    rows = re.findall(r"^\| (`.+?) \| (.+) \| (.+) \|$", seen, re.MULTILINE)
    listed = {min(quoted(root)): (quoted(shown), quoted(by)) for root, shown, by in rows}
    assert listed == {
        toolchain.root: ({*toolchain.shown} - {""}, {*toolchain.variables})
        for toolchain in TOOLCHAINS
    }


def test_what_is_hidden_from_actions_is_documented_and_nothing_else() -> None:
    page = (ROOT / "docs" / "reference" / "sandbox.md").read_text(encoding="utf-8")
    hidden = page.partition("## What is hidden")[2].partition("\n## ")[0]
    [names] = re.findall(r"files with these names: (.+?)\n\n", hidden, re.DOTALL)
    assert quoted(names) == {*CREDENTIALS}
    [directories] = re.findall(r"have their sockets: (.+?)\n\n", hidden, re.DOTALL)
    assert quoted(directories) == {*DAEMON_DIRECTORIES, "/var/run"}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_relative_link_leads_to_a_file(page: Path) -> None:
    links = re.findall(r"\]\((?!https?:)([^)#\s]+)", page.read_text(encoding="utf-8"))
    missing = [link for link in links if not (page.parent / link).exists()]
    assert not missing


@pytest.mark.parametrize("page", ["invariants.md", "explanation/security.md"])
def test_every_test_that_holds_a_promise_exists(page: str) -> None:
    named = set(re.findall(r"`(test_\w+)`", (ROOT / "docs" / page).read_text(encoding="utf-8")))
    sources = "\n".join(path.read_text() for path in (ROOT / "tests").rglob("test_*.py"))
    defined = set(re.findall(r"def (test_\w+)\(", sources))
    assert named
    assert not named - defined
