"""`reapi-local export`: a directory with a script that runs the action anywhere."""

from __future__ import annotations

import os
import stat
import subprocess
from pathlib import Path

from past_actions.lab import Lab

SECRET = "hunter2"


def run(directory: Path) -> subprocess.CompletedProcess[str]:
    """From another place, and with variables that the action must not see."""
    return subprocess.run(
        [directory / "run"],
        cwd="/",
        env={"PATH": "/usr/bin:/bin", "STRAY": "x"},
        capture_output=True,
        text=True,
        check=False,
    )


def test_the_script_does_what_the_action_did(lab: Lab, tmp_path: Path) -> None:
    script = """cat in.txt; printf '%s|' "$ODD" "$ROOT" "$HOME" "$STRAY" "$0"
echo "$TOKEN" >out/deep/made; pwd >&2; exit 6"""
    odd = 'it\'s "odd"\n$HOME `x` \\'
    variables = {"ODD": odd, "ROOT": "a:/reapi/root:/reapi/rooted", "TOKEN": SECRET}
    action = lab.action(
        script,
        {"in.txt": "input\n", "tool": "#!/bin/sh\n"},
        ["out/deep/made"],
        run=False,
        environment_variables=[{"name": n, "value": v} for n, v in sorted(variables.items())],
    )
    to = tmp_path / "a directory's name"
    told = lab.text("export", action, "--to", str(to))
    assert str(to) in told
    done = run(to)
    root = to / "root"
    assert done.returncode == 6
    values = [odd, f"a:{root}:/reapi/rooted", str(to / "home"), "", "/bin/sh"]
    assert done.stdout == "input\n" + "|".join(values) + "|"
    assert done.stderr == f"{root}\n"
    assert (root / "out" / "deep" / "made").read_text() == f"{SECRET}\n"
    assert os.access(root / "tool", os.X_OK)


def test_nobody_else_can_read_what_has_secrets(lab: Lab, tmp_path: Path) -> None:
    to = tmp_path / "mine"
    lab.text("export", lab.action("true"), "--to", str(to))

    assert stat.S_IMODE(to.stat().st_mode) == 0o700
    note = (to / "README.txt").read_text()
    assert "What this directory does not carry" in note
    assert max(map(len, note.splitlines()[1:])) <= 80


def test_actions_of_pants_find_their_input_root(lab: Lab, tmp_path: Path) -> None:
    variables = [{"name": "PANTS_CACHE_KEY_X", "value": ""}, {"name": "AT", "value": "{chroot}/f"}]
    action = lab.action("cat $AT", {"f": "found"}, run=False, environment_variables=variables)
    to = tmp_path / "pants"
    lab.text("export", action, "--to", str(to))

    assert run(to).stdout == "found"


def test_caches_take_their_place_in_arguments_and_not_in_scripts(lab: Lab, tmp_path: Path) -> None:
    files = {"say": "#!/bin/sh\necho /reapi/caches/pip\n"}
    action = lab.action("echo /reapi/caches/pip; ./say", files, run=False)
    to = tmp_path / "cached"
    lab.text("export", action, "--to", str(to))

    assert run(to).stdout == f"{to / 'caches'}/pip\n/reapi/caches/pip\n"
    note = " ".join((to / "README.txt").read_text().split())
    assert "In arguments and variables caches/ takes their place" in note
    assert "Input files are not changed" in note


def test_what_is_there_is_never_overwritten(lab: Lab, tmp_path: Path) -> None:
    (tmp_path / "kept").write_text("mine")

    told = lab.refusal("export", lab.action("true"), "--to", str(tmp_path))
    assert "no empty directory" in told
    assert [path.name for path in tmp_path.iterdir()] == ["kept"]
