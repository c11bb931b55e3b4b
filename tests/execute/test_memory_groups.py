"""Groups of processes that share a memory limit."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from reapi_local.execute.sandbox.linux.cgroup import MemoryGroups

MIB = 1024 * 1024


@pytest.fixture
def groups() -> MemoryGroups:
    found = MemoryGroups.find(50 * MIB)
    if found is None:
        pytest.skip("no control group here may have groups of its own")
    return found


def test_a_process_over_the_limit_is_killed_and_counted(groups: MemoryGroups) -> None:
    group = groups.make()
    try:
        greedy = "import sys; sys.stdin.read(); x = bytearray(100 * 2**20)"
        with subprocess.Popen([sys.executable, "-c", greedy], stdin=subprocess.PIPE) as process:
            group.add(process.pid)
            assert group.kills() == 0
        assert process.returncode == -9
        assert group.kills() == 1
    finally:
        group.remove()


def test_groups_of_servers_that_were_killed_are_removed(groups: MemoryGroups) -> None:
    mine = groups.make()
    try:
        directory = group_directory(mine)
        with subprocess.Popen([sys.executable, "-c", ""]) as gone:
            pass
        left = directory.with_name(f"reapi-local-{gone.pid}-0")
        left.mkdir()
        assert MemoryGroups.find(50 * MIB) is not None
        assert not left.exists()
        assert directory.exists()
    finally:
        mine.remove()
    assert not directory.exists()


def group_directory(group: object) -> Path:
    directory = vars(group)["_directory"]
    assert isinstance(directory, Path)
    assert str(os.getpid()) in directory.name
    return directory
