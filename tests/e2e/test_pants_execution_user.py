"""A server started by an ordinary user executes Pants' processes as one started by root does."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from e2e.pants_repo import PLUGIN, PYTHON, SHELL, machine, pants_toml
from e2e.test_pants_cache import PYTHON_SETTINGS, pins

pytestmark = pytest.mark.slow

# Root, but in a user namespace in which it is somebody else, without any right of root's: so the
# files of root's, the interpreters among them, are that user's.
AS_A_USER = ("unshare", "--user", "--map-user=1234", "--map-group=1234")
WHO = """
shell_command(name="who", tools=["id"], command="id -u > who", output_files=["who"])
"""


def run_by() -> tuple[str, ...]:
    """How to become an ordinary user; one who is that already has nothing to do."""
    if os.getuid() != 0:
        return ()
    if (
        shutil.which(AS_A_USER[0]) is None
        or subprocess.run([*AS_A_USER, "true"], check=False, capture_output=True).returncode
    ):
        pytest.skip("no user namespaces to be an ordinary user in")
    return AS_A_USER


def test_an_ordinary_user_s_server_executes_pants_processes(tmp_path: Path) -> None:
    with machine(tmp_path, run_by()) as shop:
        repository = shop.repository(
            "repository", pants_toml(PYTHON, SHELL, PLUGIN, more=PYTHON_SETTINGS)
        )
        repository.write(
            {
                "test_one.py": "import os\ndef test(): assert os.getuid() != 0\n",
                "BUILD": f"python_tests(name='tests')\n{WHO}",
                "pins.txt": pins(),
            }
        )
        repository.run("reapi-up", "--execution").must_succeed()
        tested = repository.run("test", "::").must_succeed()
        assert tested.counters["remote_execution_success"] >= 4
        assert tested.counters["local_execution_requests"] == 0
        repository.run("export-codegen", "::").must_succeed()
        who = int((repository.root / "dist" / "codegen" / "who").read_text())
        assert who == (1234 if os.getuid() == 0 else os.getuid())
        repository.run("reapi-check").must_succeed()
