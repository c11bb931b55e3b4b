"""With `reapi-up --execution` every process of a build runs on the server, and the counts agree."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import signal
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from e2e.pants_repo import (
    PLUGIN,
    PYTHON,
    SHELL,
    SHELL_TESTS,
    Done,
    Machine,
    Repository,
    machine,
    pants_toml,
)
from e2e.test_pants_cache import BUILD, MODULES, PYTHON_SETTINGS, TESTS, nothing_local, pins
from patience import PATIENCE_S
from reapi_local_plugin.instance_name import instance_name

pytestmark = pytest.mark.slow

EXECUTION = ("remote_execution = true", "remote_execution_append_only_caches_base_path")
# What Pants sends to be executed beside the tests themselves: each of these needs something else.
COMMANDS = """
shell_command(
    name="chroot", tools=["cat", "sed"], execution_dependencies=[":many"],
    command="echo {chroot} > where; cat many/1999 >> where", output_files=["where"],
)
shell_command(
    name="directory", tools=["mkdir"], workdir="some/where",
    command="mkdir -p deep/er; echo nested > deep/er/file; echo here > here",
    output_files=["here"], output_directories=["deep"],
)
shell_command(
    name="large", tools=["head"],
    command="head -c 200000000 /dev/zero > zeros", output_files=["zeros"],
)
shell_command(
    name="daemons", tools=["setsid", "sleep"],
    command="(setsid sleep {seconds} >/dev/null 2>&1 &) ; echo forked > forked",
    output_files=["forked"],
)
files(name="many", sources=["many/*"])
"""
FOR_EVER = str(10**8 + os.getpid())
"""Seconds to sleep: the word by which a process is known among the machine's."""


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    with machine(tmp_path_factory.mktemp("execution")) as made:
        yield made


@pytest.fixture(scope="module")
def repository(shop: Machine) -> Repository:
    made = shop.repository("repository", pants_toml(PYTHON, SHELL, PLUGIN, more=PYTHON_SETTINGS))
    made.write({**MODULES, **TESTS, "BUILD": BUILD, "pins.txt": pins()})
    made.write({"app.py": "import sys\nprint(sys.argv[1])\n"})
    many = {f"commands/many/{number}": f"{number}\n" for number in range(2000)}
    made.write({**many, "commands/BUILD": COMMANDS.replace("{seconds}", FOR_EVER)})
    up = made.run("reapi-up", "--execution").must_succeed()
    assert "execution" in up.out
    for line in EXECUTION:
        assert line in (made.root / ".pants.rc").read_text()
    return made


@pytest.fixture(scope="module")
def first_run(shop: Machine, repository: Repository) -> Done:
    """All tests, from nothing but the server."""
    return repository.run("test", "::").must_succeed()


@pytest.fixture(scope="module")
def commands(repository: Repository, first_run: Done) -> Done:
    """All commands, from a server that has run none of them."""
    return repository.run("export-codegen", "commands::").must_succeed()


def executed(shop: Machine, repository: Repository) -> int:
    """How many actions the server says it ran to their end."""
    counts = shop.server.call("GET", "/v1/status")["executions"]
    assert isinstance(counts, dict)
    return int(counts.get(instance_name(None, repository.root), {}).get("executed", 0))


def processes(word: str) -> list[int]:
    """Processes of the machine with this word in their command line."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                words = (entry / "cmdline").read_bytes().split(b"\0")
            except OSError:
                continue
            if word.encode() in words:
                found.append(int(entry.name))
    return found


def test_every_process_runs_on_the_server(
    shop: Machine, repository: Repository, first_run: Done
) -> None:
    counters = first_run.counters
    assert counters["remote_execution_success"] >= len(TESTS) + 4
    assert counters["remote_execution_success"] == executed(shop, repository)
    assert counters["remote_execution_errors"] == 0
    assert counters["local_execution_requests"] == 0
    assert first_run.warnings == []


def test_commands_find_what_they_need(repository: Repository, commands: Done) -> None:
    made = repository.root / "dist" / "codegen" / "commands"
    where, last = (made / "where").read_text().split()
    assert where.startswith("/")
    assert last == "1999"
    assert (made / "zeros").stat().st_size == 200_000_000
    assert (made.parent / "some/where/here").read_text() == "here\n"
    assert (made.parent / "some/where/deep/er/file").read_text() == "nested\n"


def test_daemons_of_an_action_are_gone_with_it(commands: Done) -> None:
    assert processes(FOR_EVER) == []


def test_a_test_that_takes_too_long_is_ended_and_said_to_be(
    repository: Repository, first_run: Done
) -> None:
    repository.write(
        {
            "slow/test_slow.py": "import time\ndef test(): time.sleep(3600)\n",
            "slow/BUILD": "python_tests(timeout=3)",
        }
    )
    done = repository.run("test", "slow::")
    shutil.rmtree(repository.root / "slow")
    assert done.status != 0
    assert done.counters["remote_execution_timeouts"] == 1


def test_processes_are_gone_after_ctrl_c(repository: Repository, first_run: Done) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        repository.write(
            {
                "hangs/test_hangs.py": (
                    "import socket\ndef test():\n"
                    f"    socket.create_connection(('127.0.0.1', {port})).recv(1)\n"
                ),
                "hangs/BUILD": "python_tests()",
            }
        )
        run = repository.start("test", "hangs::")
        with run:
            listener.settimeout(PATIENCE_S)
            visitor, _ = listener.accept()
            with visitor:
                run.send_signal(signal.SIGINT)
                run.communicate(timeout=PATIENCE_S)
                visitor.settimeout(PATIENCE_S)
                assert visitor.recv(1) == b"", "the process lives on"
    shutil.rmtree(repository.root / "hangs")


def test_the_server_starts_again_for_a_build_that_needs_it(
    shop: Machine, repository: Repository, first_run: Done, tmp_path: Path
) -> None:
    shop.kill_server()
    repository.write({"lone1.py": MODULES["lone1.py"] + "# changed\n"})
    done = repository.run("test", "test_lone1.py").must_succeed()
    repository.write({"lone1.py": MODULES["lone1.py"]})
    assert done.counters["remote_execution_success"] >= 1


def test_a_build_that_can_t_have_the_server_ends_with_the_remedy(
    shop: Machine, repository: Repository, first_run: Done
) -> None:
    shop.kill_server()
    done = repository.run("--no-reapi-autostart", "test", "test_lone2.py")
    assert done.status != 0
    assert "reapi-up" in done.err + done.out
    assert "Traceback" not in done.err
    for command in (["--version"], ["help"], ["reapi-check"]):
        assert "Traceback" not in repository.run("--no-reapi-autostart", *command).err
    repository.run("reapi-up", "--execution").must_succeed()


def test_an_empty_local_cache_is_served_without_running_anything(
    shop: Machine, repository: Repository, first_run: Done, tmp_path: Path
) -> None:
    before = executed(shop, repository)
    second = repository.run(*nothing_local(tmp_path), "test", "::").must_succeed()
    assert second.err.count("cached remotely") == len(TESTS)
    assert second.lookups == (first_run.lookups[1], 0)
    # What Pants never asks a remote cache for, as the search for an interpreter.
    uncached = first_run.counters["remote_execution_success"] - first_run.lookups[1]
    assert second.counters["remote_execution_success"] == uncached
    assert executed(shop, repository) == before + uncached


def test_it_works_without_the_daemon(
    shop: Machine, repository: Repository, first_run: Done, tmp_path: Path
) -> None:
    repository.write({"lone0.py": MODULES["lone0.py"] + "# changed\n"})
    done = repository.run(*nothing_local(tmp_path), "test", "::", daemon=False).must_succeed()
    repository.write({"lone0.py": MODULES["lone0.py"]})
    assert done.lookups == (first_run.lookups[1] - 1, 1)
    assert done.counters["local_execution_requests"] == 0


def test_an_interactive_command_ends_with_the_one_to_use(
    repository: Repository, first_run: Done
) -> None:
    for daemon in (False, True):
        refused = repository.run("run", "app.py", "--", "it's me", daemon=daemon)
        assert refused.status == 1
        assert "Traceback" not in refused.err
        (said,) = re.findall(r"\[ERROR\] (.+)", refused.err)
        flags, _, goal = said.partition("Use: pants --no-remote-execution ")[2].partition(" run ")
        assert "--stats-log" in flags
        assert shlex.split(goal) == ["app.py", "--", "it's me"]
    repeated = repository.run("--no-remote-execution", *shlex.split(f"run {goal}")).must_succeed()
    assert repeated.out == "it's me\n"


def test_up_without_execution_goes_back_to_caching(repository: Repository, first_run: Done) -> None:
    repository.run("reapi-up").must_succeed()
    text = (repository.root / ".pants.rc").read_text()
    assert not any(line in text for line in EXECUTION)
    repository.write({"local/BUILD": SHELL_TESTS})
    done = repository.run("test", "local::").must_succeed()
    assert done.counters["remote_execution_requests"] == 0
    assert done.counters["local_execution_requests"] >= 1
