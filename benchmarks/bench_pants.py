"""What the server adds to Pants: to a cold build that writes everything, and to `reapi-up`."""

from __future__ import annotations

import argparse
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from report import Result
from run import CHECKOUT
from servers import Serving, found, peer

_MAX_S = 300
_SETTLED_S = 1.0
_NOTHING = Path(__file__).with_name("nothing.py")
_OFF = ("--no-remote-cache-read", "--no-remote-cache-write")
_WRITES = re.compile(r"remote_cache_write_successes: (\d+)")


def measure(options: argparse.Namespace) -> list[Result]:
    """On a repository made for it; what is compared alternates."""
    scratch = Path(options.scratch)
    with (
        pants_repository(scratch, options.pants) as repository,
        peer("nothing", f"{sys.executable} {_NOTHING} {{port}}", scratch / "nothing") as nothing,
    ):
        cold = _cold_builds(repository, nothing, options.processes, options.rounds)
        return [*cold, *_warm_up(repository, options.rounds)]


class Repository:
    """A repository with the plugin of this checkout, wired to a server of its own."""

    def __init__(self, root: Path, pants: str, data_dir: Path) -> None:
        self.root, self._pants, self.data_dir = root, pants, data_dir

    @property
    def server(self) -> Serving:
        return found(self.data_dir)

    def run(self, *arguments: str) -> tuple[float, str]:
        """Seconds, and what was logged."""
        began = time.perf_counter()
        done = subprocess.run(
            [self._pants, *arguments],
            check=False,
            cwd=self.root,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=_MAX_S,
        )
        seconds = time.perf_counter() - began
        if done.returncode:
            raise SystemExit(f"pants {' '.join(arguments)} failed:\n{done.stdout}{done.stderr}")
        return seconds, done.stderr

    def write_targets(self, count: int, salt: str) -> None:
        """So many commands; another salt makes all of them new to every cache."""
        (self.root / "BUILD").write_text(
            f"for number in range({count}):\n"
            "    shell_command(\n"
            '        name=f"command{number}",\n'
            f'        command=f"echo {salt} {{number}} >made{{number}}",\n'
            '        output_files=[f"made{number}"],\n'
            "    )\n"
        )


@contextmanager
def pants_repository(
    scratch: Path, pants: str, backend: str = "pants.backend.shell", more: str = ""
) -> Iterator[Repository]:
    """In a new directory, its server started. ``more``: the end of pants.toml."""
    root, data_dir = scratch / "repository", scratch / "data"
    root.mkdir(parents=True)
    release = re.search(
        r"^pants_version = .+$", (CHECKOUT / "pants.toml").read_text(), re.MULTILINE
    )
    (root / "pants.toml").write_text(
        f"[GLOBAL]\n{release[0] if release else ''}\n"
        f'pythonpath = ["{CHECKOUT / "pants-plugins"}"]\n'
        f'backend_packages = ["{backend}", "reapi_local_plugin"]\n'
        f'[reapi]\nserver_python = "{sys.executable}"\ndata_dir = "{data_dir}"\n{more}'
    )
    repository = Repository(root, pants, data_dir)
    try:
        repository.run("reapi-up")
        yield repository
    finally:
        repository.run("reapi-down")
        for file in root.glob(".pids/*/pantsd/pid"):
            with suppress(OSError, ValueError):
                os.kill(int(file.read_text()), signal.SIGKILL)


def _cold_builds(repository: Repository, nothing: Serving, count: int, rounds: int) -> list[Result]:
    """Without the daemon and with an empty local store, so that every process runs."""
    start: list[float] = []
    without: list[float] = []
    ours = _Subject("with the server", repository.server)
    idle = _Subject("with one that stores nothing", nothing)
    elsewhere = f"--reapi-address=grpc://127.0.0.1:{nothing.port}"
    for number in range(rounds):
        start.append(repository.run("--no-pantsd", *_OFF, "roots")[0])
        without.append(_cold_build(repository, count, f"without{number}", *_OFF)[0])
        ours.build(repository, count, f"with{number}")
        idle.build(repository, count, f"nothing{number}", elsewhere)
    build, ratio = f"cold build of {count} processes", "cold build, with to without"
    cpu = "the server's CPU in it"
    return [
        Result("Pants' own start", "without", "s", start),
        Result(build, "without", "s", without),
        Result(build, ours.name, "s", ours.seconds),
        Result(build, idle.name, "s", idle.seconds),
        Result(ratio, ours.name, "ratio", ours.ratios_to(without), 1.05),
        Result(ratio, idle.name, "ratio", idle.ratios_to(without)),
        Result(cpu, ours.name, "s", ours.cpu_seconds, 0.7),
        Result(cpu, idle.name, "s", idle.cpu_seconds),
    ]


@dataclass
class _Subject:
    """A server, and for each cold build with it Pants' time and the server's."""

    name: str
    server: Serving
    seconds: list[float] = field(default_factory=list)
    cpu_seconds: list[float] = field(default_factory=list)

    def build(self, repository: Repository, count: int, salt: str, *flags: str) -> None:
        """One that writes everything to it."""
        before = self.server.cpu_seconds
        seconds, log = _cold_build(repository, count, salt, "--stats-log", *flags)
        self.seconds.append(seconds)
        written = _WRITES.search(log)
        if not written or int(written[1]) < count:
            raise SystemExit(f"Pants wrote less than {count} results to the server:\n{log}")
        time.sleep(_SETTLED_S)
        self.cpu_seconds.append(self.server.cpu_seconds - before)

    def ratios_to(self, others: Sequence[float]) -> list[float]:
        return [one / other for one, other in zip(self.seconds, others, strict=True)]


def _cold_build(repository: Repository, count: int, salt: str, *flags: str) -> tuple[float, str]:
    repository.write_targets(count, salt)
    store = repository.root.parent / "store"
    try:
        flags = (*flags, f"--local-store-dir={store}")
        return repository.run("--no-pantsd", *flags, "export-codegen", "::")
    finally:
        shutil.rmtree(store, ignore_errors=True)


def _warm_up(repository: Repository, rounds: int) -> list[Result]:
    """`reapi-up` with everything running, against a goal that does nothing."""
    repository.write_targets(1, "few")
    own: list[float] = []
    up: list[float] = []
    for goal in ("roots", "reapi-up"):
        repository.run(goal)
    for _ in range(2 * rounds):
        own.append(repository.run("roots")[0])
        up.append(repository.run("reapi-up")[0])
    added = [one - other for one, other in zip(up, own, strict=True)]
    return [
        Result("a goal with the daemon", "without", "s", own),
        Result("a goal with the daemon", "with the server", "s", up),
        Result("what a warm `reapi-up` adds", "with the server", "s", added, 0.3),
    ]
