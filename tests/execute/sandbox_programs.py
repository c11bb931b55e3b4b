"""Runs programs of cases as this user and as an ordinary user."""

from __future__ import annotations

import json
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
VARIABLES = (f"PYTHONPATH={ROOT / 'src'}:{ROOT / 'tests'}", f"PATH={os.environ['PATH']}")


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
    variables = [*VARIABLES, f"HOME={directory / 'home'}"]
    return _command(user, [*wrapper, "env", "-i", *variables], program, kind, case, str(directory))


def _command(user: str, wrapper: Sequence[str], program: Path, *arguments: str) -> list[str]:
    python, become = sys.executable, []
    if user != "this user":
        _skip_without_users()
        python = SYSTEM_PYTHON
        become = [f"--reuid={ORDINARY_USER}", f"--regid={ORDINARY_USER}", "--clear-groups"]
        become = ["setpriv", *become, "--"]
    return [*become, *wrapper, python, "-B", "-W", "error", str(program), *arguments]


class Programs:
    """Programs of cases, one for each user and kind of sandbox, that run one case after another."""

    def __init__(self, program: Path) -> None:
        self._program = program
        self._running: dict[tuple[str, str], subprocess.Popen[str]] = {}

    def hold(self, user: str, kind: str, case: str, directory: Path) -> None:
        """Run a case; fail if it fails."""
        running = self._running.get((user, kind)) or self._start(user, kind)
        assert running.stdin is not None
        assert running.stdout is not None
        try:
            running.stdin.write(json.dumps([case, str(directory)]) + "\n")
            running.stdin.flush()
            answer = running.stdout.readline()
        except BaseException:
            self._end(user, kind)
            raise
        if not answer:
            pytest.fail(f"{case} ended its program with status {self._end(user, kind)}")
        if failure := json.loads(answer):
            pytest.fail(failure)

    def close(self) -> None:
        for user, kind in [*self._running]:
            self._end(user, kind)

    def _start(self, user: str, kind: str) -> subprocess.Popen[str]:
        command = _command(user, ["env", "-i", *VARIABLES], self._program, kind)
        pipe = subprocess.PIPE
        started = subprocess.Popen(command, cwd="/", stdin=pipe, stdout=pipe, text=True)
        self._running[user, kind] = started
        return started

    def _end(self, user: str, kind: str) -> int:
        with self._running.pop((user, kind)) as running:
            running.kill()
        return running.returncode


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
