"""One step of making an environment: a program runs, and its output says how far it is."""

from __future__ import annotations

import os
import re
import selectors
import shutil
import subprocess
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from reapi_local_launcher.progress import Steps

_COLLECTED = re.compile(r"Collecting ([\w.-]+)")
_IGNORED = re.compile(r"Ignoring ([\w.-]+): markers")
_POLL_S = 1.0
_NO_SPACE = ("No space left on device", "Disk quota exceeded", "os error 28", "os error 122")
_LITTLE_BYTES = 4 * 1024**2


class StepFailedError(Exception):
    """A step ended with a status that isn't 0; the message is the end of its output."""

    def __init__(self, command: Sequence[str], status: int, tail: str) -> None:
        super().__init__(tail)
        self.command, self.status, self.tail = command, status, tail

    @property
    def lacked_space(self) -> bool:
        return any(text in self.tail for text in _NO_SPACE)


class Packages:
    """Counts the packages of a file of requirements that have been fetched for an environment."""

    def __init__(self, requirements: Path, venv: Path) -> None:
        self._venv = venv
        lines = requirements.read_text(encoding="utf-8").splitlines()
        self._total = sum(re.match(r"[\w.-]+==", line) is not None for line in lines)
        self._done: set[str] = set()
        self._now = ""

    def read(self, line: str) -> None:
        """A line that pip or uv wrote."""
        if _IGNORED.match(line):
            self._total -= 1
        elif collected := _COLLECTED.match(line.strip()):
            self._done.add(collected.group(1))
        self._now = line.split(":")[0].strip() if line.strip() else self._now

    def show(self, steps: Steps) -> None:
        done = min(max(len(self._done), self._installed), self._total)
        steps.show(f"{done} of {self._total} packages", self._now)

    @property
    def _installed(self) -> int:
        """uv writes no line for each package, so count what it has put there."""
        found = self._venv.glob("lib/python*/site-packages/*.dist-info")
        return sum(not path.name.startswith("pip-") for path in found)


def run_step(
    command: Sequence[str], env: Mapping[str, str], log: Path, packages: Packages, steps: Steps
) -> None:
    """Run one program to its end, and append its output to the log. It is killed on Ctrl-C.

    Raises:
        StepFailedError: it failed.
        OSError: it can't be run, or the log can't be written.
    """
    with (
        log.open("ab") as output,
        subprocess.Popen(
            command,
            env=env,
            cwd=log.parent,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        ) as process,
    ):
        try:
            tail = _copy(process, output.write, packages, steps)
        except BaseException:
            process.kill()
            raise
    if process.returncode != 0:
        raise StepFailedError(command, process.returncode, tail)


def _copy(
    process: subprocess.Popen[bytes],
    write: Callable[[bytes], object],
    packages: Packages,
    steps: Steps,
) -> str:
    """Copy the output until it ends; returns its last lines."""
    assert process.stdout is not None
    descriptor, lines = process.stdout.fileno(), [b""]
    with selectors.DefaultSelector() as selector:
        selector.register(descriptor, selectors.EVENT_READ)
        while True:
            packages.show(steps)
            if not selector.select(_POLL_S):
                continue
            chunk = os.read(descriptor, 65536)
            if not chunk:
                break
            write(chunk)
            more = (lines.pop() + chunk).split(b"\n")
            for line in more[:-1]:
                packages.read(line.decode(errors="replace"))
            lines = [*lines, *more][-12:]
    return b"\n".join(lines).decode(errors="replace").strip()


def full_disk(*directories: Path) -> Path | None:
    """The first directory whose disk has next to no space."""
    return next((one for one in directories if _free_bytes(one) < _LITTLE_BYTES), None)


def _free_bytes(directory: Path) -> float:
    try:
        return shutil.disk_usage(directory).free
    except OSError:
        return float("inf")
