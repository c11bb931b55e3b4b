"""Cgroups of processes that share a memory limit."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from reapi_local.execute.sandbox.linux.cgroup import MemoryCgroups

MIB = 1024 * 1024


@pytest.fixture
def cgroups() -> MemoryCgroups:
    found = MemoryCgroups.find(50 * MIB)
    if found is None:
        pytest.skip("no cgroup can be created here")
    return found


def test_a_process_over_the_limit_is_killed_and_counted(cgroups: MemoryCgroups) -> None:
    cgroup = cgroups.create()
    try:
        greedy = "import sys; sys.stdin.read(); x = bytearray(100 * 2**20)"
        with subprocess.Popen([sys.executable, "-c", greedy], stdin=subprocess.PIPE) as process:
            cgroup.add(process.pid)
            assert cgroup.oom_kills() == 0
        assert process.returncode == -9
        assert cgroup.oom_kills() == 1
    finally:
        cgroup.remove()


def test_cgroups_of_killed_servers_are_removed(cgroups: MemoryCgroups) -> None:
    mine = cgroups.create()
    try:
        directory = cgroup_directory(mine)
        with subprocess.Popen([sys.executable, "-c", ""]) as gone:
            pass
        left = directory.with_name(f"reapi-local-{gone.pid}-0")
        left.mkdir()
        assert MemoryCgroups.find(50 * MIB) is not None
        assert not left.exists()
        assert directory.exists()
    finally:
        mine.remove()
    assert not directory.exists()


def cgroup_directory(cgroup: object) -> Path:
    directory = vars(cgroup)["_directory"]
    assert isinstance(directory, Path)
    assert str(os.getpid()) in directory.name
    return directory


def test_held_memory_is_neither_copies_of_files_nor_the_kernels_own(
    cgroups: MemoryCgroups,
) -> None:
    program = """
import os
input()
for file in os.open("/var/tmp", os.O_WRONLY | os.O_TMPFILE), os.memfd_create("held"):
    for _ in range(18):
        os.write(file, bytes(1 << 20))
print("done", flush=True)
input()
"""
    cgroup, pipe = cgroups.create(), subprocess.PIPE
    try:
        with subprocess.Popen(
            [sys.executable, "-c", program], stdin=pipe, stdout=pipe, text=True
        ) as process:
            cgroup.add(process.pid)
            assert process.stdin is not None
            assert process.stdout is not None
            process.stdin.write("\n")
            process.stdin.flush()
            process.stdout.readline()
            held = cgroup.held_bytes()
            process.communicate("\n")
        assert 18 * MIB <= held < 32 * MIB
        assert cgroup.held_bytes() < 4 * MIB
    finally:
        cgroup.remove()
