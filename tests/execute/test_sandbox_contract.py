"""Every kind of sandbox keeps the contract, for this user and, if that is root, for another."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import pytest

from execute.contract_cases import CASES
from execute.sandbox_bench import KINDS
from execute.sandbox_programs import USERS, command_for, directory_for, hold

PROGRAM = Path(__file__).with_name("contract_cases.py")


@pytest.mark.skipif(sys.platform != "linux", reason="needs Linux, its tools and /proc")
@pytest.mark.parametrize("user", USERS)
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("case", CASES)
def test_it_holds(case: str, kind: str, user: str) -> None:
    if kind == "bubblewrap" and shutil.which("bwrap") is None:
        pytest.skip("bubblewrap isn't installed")
    with directory_for(user, "/dev/shm", "/var/tmp") as directory:
        hold(command_for(user, PROGRAM, kind, case, directory))
