"""Actions see of homes only what is named, for this user and, if this is root, an ordinary one."""

from __future__ import annotations

import json
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from execute.planted import planted
from execute.sandbox_programs import ORDINARY_USER, USERS, Programs, directory_for
from execute.shown_cases import CASES

PROGRAM = Path(__file__).with_name("shown_cases.py")

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="needs Linux")


@pytest.fixture(params=USERS)
def user(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(params=["bubblewrap", "slots"])
def kind(request: pytest.FixtureRequest) -> str:
    if request.param == "bubblewrap" and shutil.which("bwrap") is None:
        pytest.skip("bubblewrap isn't installed")
    return str(request.param)


@pytest.fixture
def owner(user: str) -> int:
    return ORDINARY_USER if user != "this user" and os.getuid() == 0 else os.getuid()


@pytest.fixture
def directory(user: str, owner: int) -> Iterator[Path]:
    """With a home and a repository in it, and secrets in every place that this user may write."""
    with ExitStack() as stack:
        path = stack.enter_context(directory_for(user, "/opt", str(Path.home())))
        repository = path / "home" / "work" / "repository"
        repository.mkdir(parents=True)
        (repository / "public").write_text("public")
        temporary = [Path(tempfile.mkdtemp(dir=zone)) for zone in ("/tmp", "/var/tmp")]
        for made in (repository.parent, repository, *temporary):
            os.chown(made, owner, -1)
            made.chmod(0o755)
        for made in temporary:
            stack.callback(shutil.rmtree, made)
        (path / "temporary.json").write_text(json.dumps([*map(str, temporary)]))
        yield path


@pytest.fixture(scope="module")
def programs() -> Iterator[Programs]:
    made = Programs(PROGRAM)
    yield made
    made.close()


@pytest.mark.parametrize("case", CASES)
def test_it_holds(
    case: str, kind: str, user: str, owner: int, directory: Path, programs: Programs
) -> None:
    if case != "nothing_that_was_planted_is_reached":
        programs.hold(user, kind, case, directory)
        return
    home = directory / "home"
    with planted(home, home / "work" / "repository", owner) as secrets:
        listed = {"files": secrets.files, "sockets": secrets.sockets}
        (directory / "planted.json").write_text(json.dumps(listed))
        programs.hold(user, kind, case, directory)
