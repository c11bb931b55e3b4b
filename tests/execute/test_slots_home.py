"""Actions see toolchains in the home of the server's user, but no secrets."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import pytest

from execute.sandbox_helpers import ORDINARY_USER, Box, other_box, own_box, visible_directory

TOOL = "#!/bin/sh\necho tool\n"


@asynccontextmanager
async def box_with_home(user: str, patch: pytest.MonkeyPatch) -> AsyncIterator[tuple[Box, Path]]:
    async with AsyncExitStack() as stack:
        owner = ORDINARY_USER if user == "other" else os.getuid()
        home = stack.enter_context(visible_directory(owner))
        fill_home(home, owner)
        if user == "other":
            make = other_box(environment={"HOME": str(home)})
            yield await stack.enter_async_context(make), home
        else:
            patch.setenv("HOME", str(home))
            yield await stack.enter_async_context(own_box()), home


def fill_home(home: Path, owner: int) -> None:
    write(home / ".pyenv" / "bin" / "tool", TOOL, 0o755)
    write(home / ".cache" / "tools" / "tool", TOOL, 0o755)
    write(home / ".ssh" / "id_ed25519", "secret")
    write(home / ".aws" / "credentials", "secret")
    write(home / ".config" / "gh" / "hosts.yml", "secret")
    write(home / ".config" / "pip" / "pip.conf", "shown")
    write(home / ".config" / "git" / "config", "shown")
    write(home / ".config" / "git" / "credentials", "secret")
    write(home / ".cargo" / "bin" / "tool", TOOL, 0o755)
    write(home / ".cargo" / "credentials.toml", "secret")
    write(home / ".netrc", "secret")
    write(home / ".bazelrc", "secret")
    write(home / ".bazelrc.reapi-local", "secret")
    write(home / ".bash_history", "secret")
    write(home / ".private", "secret", 0o600)
    write(home / ".gitconfig", "shown")
    write(home / "dotfiles" / "npmrc", "secret")
    (home / ".npmrc").symlink_to("dotfiles/npmrc")
    (home / "bin").symlink_to(".pyenv/bin")
    for path in (home, *home.rglob("*")):
        os.chown(path, owner, owner, follow_symlinks=False)
    (home / ".cache").chmod(0o700)
    home.chmod(0o700)


def write(path: Path, content: str, mode: int = 0o644) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content)
    path.chmod(mode)


async def contents(box: Box, home: Path) -> dict[str, str]:
    """The content of every file that an action can read in the home, by path."""
    command = f'cd {home} && find . -type f -exec sh -c \'echo "$1=$(cat "$1")"\' - {{}} \\;'
    lines = (await box.run("sh", "-c", command)).stdout.split("\n./")
    return dict(line.removeprefix("./").split("=", 1) for line in lines if line)


@pytest.mark.parametrize("user", ["own", "other"])
async def test_secrets_are_hidden_and_toolchains_are_visible(
    user: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with box_with_home(user, monkeypatch) as (box, home):
        found = await contents(box, home)
        assert "secret" not in {text.strip() for text in found.values()}
        assert {path for path, text in found.items() if text.strip() == "shown"} == {
            ".gitconfig",
            ".config/pip/pip.conf",
            ".config/git/config",
        }
        for tool in (".pyenv/bin/tool", ".cache/tools/tool", ".cargo/bin/tool", "bin/tool"):
            assert (await box.run(f"{home}/{tool}")).stdout == "tool\n"


@pytest.mark.parametrize("user", ["own", "other"])
async def test_new_files_in_a_home_are_shown_or_hidden_too(
    user: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with box_with_home(user, monkeypatch) as (box, home):
        await box.run("true")
        write(home / "new" / "tool", TOOL, 0o755)
        write(home / ".kube" / "config", "secret")
        write(home / ".config" / "gcloud" / "key", "secret")
        write(home / ".netrc.new", "secret")
        (home / ".netrc.new").rename(home / ".netrc")
        assert (await box.run(f"{home}/new/tool")).stdout == "tool\n"
        assert "secret" not in {text.strip() for text in (await contents(box, home)).values()}


async def test_a_home_is_read_only(monkeypatch: pytest.MonkeyPatch) -> None:
    async with box_with_home("own", monkeypatch) as (box, home):
        seen = await box.run("sh", "-c", f"cd {home}; touch x; touch .pyenv/x; rm .gitconfig")
        assert seen.exit_code != 0
        assert not (home / "x").exists()
        assert not (home / ".pyenv" / "x").exists()
        assert (home / ".gitconfig").exists()
