"""Where the kernel, or a container's system call filter, has no Landlock."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import pytest

from execute.landlock_cases import CASES
from execute.sandbox_programs import ROOT, SYSTEM_PYTHON, USERS, command_for, directory_for, hold

WITHOUT_LANDLOCK = (
    *(SYSTEM_PYTHON, "-B", "-c"),
    f"""
import os, struct, sys
sys.path.insert(0, {str(ROOT / "src")!r})
from reapi_local.execute.sandbox.linux.syscalls import *
instructions = (0x20, 0, 0, 0), (0x15, 0, 1, 444), (6, 0, 0, 0x50026), (6, 0, 0, 0x7FFF0000)
set_no_new_privileges()
install_seccomp_filter(b"".join(struct.pack("HBBI", *one) for one in instructions))
os.execvp(sys.argv[1], sys.argv[1:])
""",
)

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="needs Linux")


@pytest.mark.parametrize("kind", ["slots", "bubblewrap"])
@pytest.mark.parametrize("user", USERS)
@pytest.mark.parametrize("case", CASES)
def test_it_holds(case: str, user: str, kind: str) -> None:
    if kind == "bubblewrap" and shutil.which("bwrap") is None:
        pytest.skip("bubblewrap isn't installed")
    program = Path(__file__).with_name("landlock_cases.py")
    with directory_for(user, "/var/tmp") as directory:
        hold(command_for(user, program, kind, case, directory, *WITHOUT_LANDLOCK))
