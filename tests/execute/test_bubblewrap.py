"""Bubblewrap isolates actions, for this user and, if this is root, for an ordinary user."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from execute.bubblewrap_cases import CASES
from execute.sandbox_bench import Bench
from execute.sandbox_programs import USERS, Programs, command_for, directory_for, hold, run
from reapi_local.execute.sandbox.interface import SandboxError

PROGRAM = Path(__file__).with_name("bubblewrap_cases.py")
BWRAP = shutil.which("bwrap") or ""
NO_MORE_USER_NAMESPACES = (
    *("unshare", "--user", "--map-user=1000", "--map-group=1000", "--keep-caps"),
    *("sh", "-c", 'echo 0 > /proc/sys/user/max_user_namespaces; exec "$@"', "sh"),
    *("setpriv", "--ambient-caps=-all", "--inh-caps=-all"),
)
MASKED_PROC = ("unshare", "--mount", "sh", "-c", 'mount -t tmpfs none /proc/fs; exec "$@"', "sh")

SOME = (
    "an_action_that_kills_all_processes_kills_only_its_own",
    "actions_have_no_capability_and_cant_gain_one",
    "the_supervisor_is_out_of_reach",
    "processes_of_the_host_arent_visible",
)

pytestmark = pytest.mark.skipif(not BWRAP, reason="bubblewrap isn't installed")


@pytest.fixture(params=USERS)
def user(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def directory(user: str) -> Iterator[Path]:
    """A directory that actions see at its path on the host."""
    with directory_for(user, "/opt", str(Path.home())) as path:
        yield path


@pytest.fixture
def of_an_ordinary_user() -> Iterator[Path]:
    with directory_for("an ordinary user", "/opt", str(Path.home())) as path:
        yield path


@pytest.fixture(scope="module")
def programs() -> Iterator[Programs]:
    made = Programs(PROGRAM)
    yield made
    made.close()


@pytest.mark.parametrize("case", CASES)
def test_it_holds(case: str, user: str, directory: Path, programs: Programs) -> None:
    programs.hold(user, "bubblewrap", case, directory)


@pytest.mark.parametrize("case", SOME)
def test_a_setuid_bwrap_works_too(
    case: str, of_an_ordinary_user: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if os.getuid() != 0:
        pytest.skip("only root can make a program setuid root")
    program = shutil.copy(BWRAP, of_an_ordinary_user)
    os.chown(program, 0, 0)
    os.chmod(program, 0o4755)
    monkeypatch.setenv("PATH", f"{of_an_ordinary_user}:{os.environ['PATH']}")
    hold(command_for("an ordinary user", PROGRAM, "bubblewrap", case, of_an_ordinary_user))


@pytest.mark.parametrize("case", SOME)
def test_root_doesnt_need_an_unmasked_proc(case: str) -> None:
    if os.getuid() != 0:
        pytest.skip("only root can mask a part of /proc")
    with directory_for("this user", "/opt") as directory:
        hold([*MASKED_PROC, *command_for("this user", PROGRAM, "bubblewrap", case, directory)])


def test_for_a_masked_proc_the_error_names_the_container_option(of_an_ordinary_user: Path) -> None:
    command = command_for("an ordinary user", PROGRAM, "bubblewrap", SOME[0], of_an_ordinary_user)
    assert "systempaths=unconfined" in run([*MASKED_PROC, *command]).stderr


def test_for_forbidden_user_namespaces_the_error_names_the_setting(
    of_an_ordinary_user: Path,
) -> None:
    command = command_for(
        *("an ordinary user", PROGRAM, "bubblewrap", SOME[0], of_an_ordinary_user),
        *NO_MORE_USER_NAMESPACES,
    )
    assert "sysctl -w user.max_user_namespaces" in run(command).stderr


async def test_without_bwrap_the_error_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    bench = Bench("bubblewrap", tmp_path)
    with pytest.raises(SandboxError, match="apt install bubblewrap"):
        await bench.sandbox.start()
    await bench.sandbox.close()


async def test_it_works_if_the_interpreter_of_the_server_is_hidden(tmp_path: Path) -> None:
    if sys.base_prefix == "/usr":
        pytest.skip("hiding /usr would hide all else, too")
    bench = Bench("bubblewrap", tmp_path, hidden=(os.path.dirname(sys.base_prefix),))
    await bench.sandbox.start()
    assert (await bench.shell("echo works")).stdout == b"works\n"
    await bench.sandbox.close()
