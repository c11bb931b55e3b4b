"""Runs programs of cases as this user and as an ordinary user."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SYSTEM_PYTHON = "/usr/bin/python3"
ORDINARY_USER = 54321
USERS = ("this user", "an ordinary user")


@contextmanager
def directory_for(user: str, *parents: str) -> Iterator[Path]:
    """A directory of that user with a home in it, below the first writable one of ``parents``.

    Not below pytest's own, which only one user may enter.
    """
    parent = next((parent for parent in parents if os.access(parent, os.W_OK)), None)
    if parent is None:
        pytest.skip(f"none of {', '.join(parents)} can be written")
    directory = Path(tempfile.mkdtemp(prefix="reapi-local-test-", dir=parent))
    try:
        directory.chmod(0o755)
        (directory / "home").mkdir()
        if user != "this user" and os.getuid() == 0:
            for path in (directory, directory / "home"):
                os.chown(path, ORDINARY_USER, ORDINARY_USER)
        yield directory
    finally:
        shutil.rmtree(directory)


def command_for(
    user: str, program: Path, kind: str, case: str, directory: Path, *wrapper: str
) -> list[str]:
    """The command for one case, run by ``wrapper``. Skips the test if it can't become that user."""
    variables = [
        f"PYTHONPATH={ROOT / 'src'}:{ROOT / 'tests'}",
        f"PATH={os.environ['PATH']}",
        f"HOME={directory / 'home'}",
    ]
    python, become = sys.executable, []
    if user != "this user":
        _skip_without_users()
        python = SYSTEM_PYTHON
        become = [f"--reuid={ORDINARY_USER}", f"--regid={ORDINARY_USER}", "--clear-groups"]
        become = ["setpriv", *become, "--"]
    program_of_cases = [python, "-B", "-W", "error", str(program), kind, case, str(directory)]
    return [*become, *wrapper, "env", "-i", *variables, *program_of_cases]


def run(command: Sequence[str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, cwd="/", capture_output=True, text=True, check=False)


def hold(command: Sequence[str]) -> None:
    """Run a case; fail if it fails."""
    ran = run(command)
    assert ran.returncode == 0, ran.stdout + ran.stderr


def _skip_without_users() -> None:
    if os.getuid() != 0:
        pytest.skip("only root can become another user")
    check = [SYSTEM_PYTHON, "-c", "import sys; sys.exit(sys.version_info < (3, 11))"]
    if not os.path.exists(SYSTEM_PYTHON) or subprocess.run(check, check=False).returncode:
        pytest.skip(f"{SYSTEM_PYTHON} isn't a Python 3.11 or later")
