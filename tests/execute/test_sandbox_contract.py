"""The contract of sandboxes, kept by every kind, for this user and, if this is root, for another."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from execute.sandbox_contract import CASES, KINDS, bench_of

SOURCES = Path(__file__).resolve().parents[2] / "src"
PROGRAM = Path(__file__).with_name("sandbox_contract.py")
PYTHON = "/usr/bin/python3"
OTHER_USER = 54321

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="needs Linux, its tools and /proc")


@pytest.fixture
def directory() -> Iterator[Path]:
    """Not below pytest's own, which only one user may enter."""
    path = Path(tempfile.mkdtemp(dir="/dev/shm"))
    path.chmod(0o755)
    yield path
    shutil.rmtree(path)


@pytest.fixture(params=sorted(KINDS))
def kind(request: pytest.FixtureRequest) -> str:
    if request.param == "bubblewrap" and shutil.which("bwrap") is None:
        pytest.skip("bubblewrap isn't installed")
    return str(request.param)


@pytest.mark.parametrize("case", CASES)
async def test_for_this_user(case: str, kind: str, directory: Path) -> None:
    async with bench_of(kind, directory) as bench:
        await CASES[case](bench)


def _python_for_others() -> bool:
    check = "import sys; sys.exit(sys.version_info < (3, 11))"
    return (
        os.path.exists(PYTHON)
        and subprocess.run([PYTHON, "-c", check], check=False).returncode == 0
    )


@pytest.mark.skipif(os.getuid() != 0, reason="only root can become another user")
@pytest.mark.skipif(not _python_for_others(), reason=f"{PYTHON} isn't a Python 3.11 or later")
@pytest.mark.parametrize("case", CASES)
def test_for_an_ordinary_user(case: str, kind: str, directory: Path) -> None:
    os.chown(directory, OTHER_USER, OTHER_USER)
    become = ["setpriv", f"--reuid={OTHER_USER}", f"--regid={OTHER_USER}", "--clear-groups"]
    ran = subprocess.run(
        [*become, PYTHON, "-W", "error", str(PROGRAM), kind, case, str(directory)],
        env={"PYTHONPATH": str(SOURCES), "PATH": os.environ["PATH"], "HOME": str(directory)},
        cwd="/",
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
