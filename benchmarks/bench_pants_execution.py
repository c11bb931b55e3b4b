"""Pants with its processes on the server, beside Pants that runs them itself: both from nothing."""

from __future__ import annotations

import argparse
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bench_pants import Repository, pants_repository
from report import Result
from run import CHECKOUT

_BAR = 1.10
_PYTHON = "pants.backend.python"
_LOCALLY = ("--no-remote-execution", "--no-remote-cache-read", "--no-remote-cache-write")
_KEPT_BY_SERVER = ("store", "inputs", "caches")
_REMOTE_RUNS = re.compile(r"remote_execution_success: (\d+)")
_MODULES = 8
_SETTINGS = """
[source]
root_patterns = ["/"]
[python]
interpreter_constraints = ["CPython==3.11.*"]
enable_resolves = true
resolves = { python-default = "pins.txt" }
resolves_generate_lockfiles = false
[python-bootstrap]
names = ["python3.11", "python3.9"]
[python-infer]
use_rust_parser = true
[pytest]
install_from_resolve = "python-default"
"""


def measure(options: argparse.Namespace) -> list[Result]:
    """Each pair begins with another side, so that what one leaves to the next meets both."""
    return [
        *_shell(Path(options.scratch) / "shell", options),
        *_pytest(Path(options.scratch) / "pytest", options),
    ]


def _shell(scratch: Path, options: argparse.Namespace) -> list[Result]:
    with pants_repository(scratch, options.pants) as repository:
        repository.write_targets(options.processes, "cold")
        goal = ("export-codegen", "::")
        what = f"{options.processes} shell processes"
        return list(_compared(repository, what, goal, options.rounds, options.processes))


def _pytest(scratch: Path, options: argparse.Namespace) -> list[Result]:
    with pants_repository(scratch, options.pants, _PYTHON, _SETTINGS) as repository:
        for number in range(_MODULES):
            module, test = f"module{number}", f"test_module{number}"
            (repository.root / f"{module}.py").write_text(f"def value(): return {number}\n")
            (repository.root / f"{test}.py").write_text(
                f"from {module} import value\ndef test(): assert value() == {number}\n"
            )
        (repository.root / "BUILD").write_text("python_sources()\npython_tests(name='tests')\n")
        (repository.root / "pins.txt").write_text(_pins())
        what = f"pytest of {_MODULES} files"
        return list(_compared(repository, what, ("test", "::"), options.rounds, _MODULES))


def _pins() -> str:
    """This project's own pins of pytest and what it needs."""
    text = (CHECKOUT / "requirements" / "dev.txt").read_text()
    wanted = "iniconfig|packaging|pluggy|pygments|pytest"
    return "".join(re.findall(rf"^(?:{wanted})==.+\n(?:    .+\n)*", text, re.MULTILINE))


def _compared(
    repository: Repository, what: str, goal: tuple[str, ...], rounds: int, processes: int
) -> Iterator[Result]:
    local: list[float] = []
    remote: list[float] = []
    cpu: list[float] = []
    repository.run("reapi-up", "--execution")
    for number in range(rounds):
        for is_remote in (True, False) if number % 2 else (False, True):
            if is_remote:
                seconds, server_cpu = _remote(repository, goal, processes)
                remote.append(seconds)
                cpu.append(server_cpu)
            else:
                local.append(_cold(repository, *_LOCALLY, *goal)[0])
    ratios = [one / other for one, other in zip(remote, local, strict=True)]
    yield Result(f"{what}, cold", "by Pants itself", "s", local)
    yield Result(f"{what}, cold", "on the server", "s", remote)
    yield Result(f"{what}, server to Pants itself", "on the server", "ratio", ratios, _BAR)
    yield Result(f"{what}, the server's CPU without slots", "on the server", "s", cpu)


def _remote(repository: Repository, goal: tuple[str, ...], processes: int) -> tuple[float, float]:
    """Seconds, and those of the server's CPU; with a server that has nothing yet."""
    repository.run("reapi-down")
    for name in _KEPT_BY_SERVER:
        shutil.rmtree(repository.data_dir / name, ignore_errors=True)
    repository.run("reapi-up", "--execution")
    before = repository.server.cpu_seconds
    seconds, log = _cold(repository, "--stats-log", *goal)
    ran = _REMOTE_RUNS.search(log)
    if not ran or int(ran[1]) < processes:
        raise SystemExit(f"less than {processes} processes ran on the server:\n{log}")
    return seconds, repository.server.cpu_seconds - before


def _cold(repository: Repository, *arguments: str) -> tuple[float, str]:
    """A run of Pants without its daemon that has nothing yet."""
    with _empty(repository.root.parent / "pants") as own:
        places = (f"--local-store-dir={own}/store", f"--named-caches-dir={own}/named")
        return repository.run("--no-pantsd", *places, *arguments)


@contextmanager
def _empty(directory: Path) -> Iterator[Path]:
    try:
        yield directory
    finally:
        shutil.rmtree(directory, ignore_errors=True)
