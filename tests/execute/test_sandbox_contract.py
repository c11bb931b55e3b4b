"""Every sandbox fulfils the contract, for this user and, if this is root, for an ordinary user."""

from __future__ import annotations

import asyncio
import os
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from execute.contract_cases import CASES
from execute.sandbox_bench import KINDS, Witness
from execute.sandbox_programs import USERS, Programs, command_for, directory_for, hold

HERE = Path(__file__).parent

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="needs Linux, its tools and /proc")


@pytest.fixture(params=USERS)
def user(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(params=sorted(KINDS))
def kind(request: pytest.FixtureRequest) -> str:
    if request.param == "bubblewrap" and shutil.which("bwrap") is None:
        pytest.skip("bubblewrap isn't installed")
    return str(request.param)


@pytest.fixture
def directory(user: str) -> Iterator[Path]:
    with directory_for(user, "/dev/shm", "/var/tmp") as path:
        yield path


@pytest.fixture(scope="module")
def programs() -> Iterator[Programs]:
    made = Programs(HERE / "contract_cases.py")
    yield made
    made.close()


@pytest.mark.parametrize("case", CASES)
def test_it_holds(case: str, kind: str, user: str, directory: Path, programs: Programs) -> None:
    programs.hold(user, kind, case, directory)


async def test_a_killed_server_leaves_no_process_and_the_next_one_works(
    kind: str, user: str, directory: Path
) -> None:
    caches = directory / "caches" / "instance"
    caches.mkdir(parents=True)
    for path in (caches.parent, caches):
        os.chown(path, os.stat(directory).st_uid, -1)
    witness = Witness(caches / "witness")
    program = HERE / "killed_cases.py"
    case = "two_actions_run_until_they_are_killed"
    server = await asyncio.create_subprocess_exec(
        *command_for(user, program, kind, case, directory), cwd="/"
    )
    await witness.sees_it_start()
    await witness.sees_it_start()
    server.kill()
    await server.wait()
    await witness.sees_all_end()
    witness.close()
    hold(
        command_for(
            user, program, kind, "the_next_server_removes_what_a_killed_one_left", directory
        )
    )
