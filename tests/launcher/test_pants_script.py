"""The project's own `pants` script, on an interpreter that only says what it was called with."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).resolve().parents[2]

# `-m venv DIR` gives DIR this as its interpreter; pip then fails, so nothing is downloaded.
INTERPRETER = """#!/bin/sh
if [ "$2" = venv ]; then mkdir -p "$3/bin" && cp "$0" "$3/bin/python"; exit; fi
echo "called with: $*" >&2
exit 1
"""


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    made = tmp_path / "checkout"
    shutil.copytree(CHECKOUT / "requirements", made / "requirements")
    shutil.copy(CHECKOUT / "pants", made)
    interpreter = tmp_path / "bin" / "python3.9"
    interpreter.parent.mkdir()
    interpreter.write_text(INTERPRETER)
    interpreter.chmod(0o755)
    return made


@pytest.mark.parametrize("target", ["{checkout}/pants", "../other/pants"])
def test_a_link_to_the_script_finds_the_checkout_it_leads_to(
    checkout: Path, tmp_path: Path, target: str
) -> None:
    for directory, leads_to in [("other", checkout / "pants"), ("linked", target)]:
        (tmp_path / directory).mkdir()
        link = tmp_path / directory / "pants"
        link.symlink_to(str(leads_to).format(checkout=checkout))
    done = subprocess.run(
        [tmp_path / "linked" / "pants", "version"],
        env={"PATH": f"{tmp_path}/bin:/usr/bin:/bin", "HOME": str(tmp_path)},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        check=False,
        text=True,
    )
    assert f"--require-hashes -r {checkout}/requirements/pants.txt" in done.stderr


def test_outside_a_repository_it_says_so_and_installs_nothing(
    checkout: Path, tmp_path: Path
) -> None:
    outside, inside = tmp_path / "outside", tmp_path / "repository" / "below"
    outside.mkdir()
    inside.mkdir(parents=True)
    (inside.parent / "pants.toml").touch()
    said = [
        subprocess.run(
            [checkout / "pants", "version"],
            cwd=directory,
            env={"PATH": f"{tmp_path}/bin:/usr/bin:/bin", "HOME": str(tmp_path)},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            check=False,
            text=True,
        ).stderr
        for directory in (outside, inside)
    ]
    assert said[0].startswith(f"pants: {outside} is not in a Pants repository: ")
    assert "called with" not in said[0]
    assert "called with" in said[1]
