"""A process is waited for as long as it makes progress, and no longer."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator

import pytest

from reapi_local_launcher.patience import Patience, run_patiently

# For each line it uses the processor for a moment, and says so.
_WORKS_WHEN_TOLD = """
import sys, time
for line in sys.stdin:
    end = time.process_time() + 0.1
    while time.process_time() < end:
        pass
    print("worked", flush=True)
"""


class Clock:
    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.now = 1000.0
        patch.setattr(time, "monotonic", lambda: self.now)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return Clock(monkeypatch)


@pytest.fixture
def worker() -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-c", _WORKS_WHEN_TOLD]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        yield process


def work(worker: subprocess.Popen[str]) -> None:
    assert worker.stdin is not None
    assert worker.stdout is not None
    worker.stdin.write("work\n")
    worker.stdin.flush()
    assert worker.stdout.readline() == "worked\n"


def test_the_time_begins_anew_whenever_the_process_has_worked(
    clock: Clock, worker: subprocess.Popen[str]
) -> None:
    work(worker)  # it has started
    patience = Patience(10.0)
    for _ in range(5):
        assert patience.left_s(worker.pid) == 10.0
        clock.now += 9.0
        work(worker)
    assert patience.left_s(worker.pid) == 10.0
    clock.now += 9.0
    assert patience.left_s(worker.pid) == 1.0
    clock.now += 1.0
    assert patience.left_s(worker.pid) == 0.0


@pytest.mark.parametrize(("most_s", "ends_s"), [(None, 100.0), (15.0, 15.0)])
def test_a_process_that_works_for_ever_has_an_end(
    clock: Clock, worker: subprocess.Popen[str], most_s: float | None, ends_s: float
) -> None:
    patience = Patience(10.0, most_s)
    patience.left_s(worker.pid)
    clock.now += ends_s
    work(worker)
    assert patience.left_s(worker.pid) == 0.0


def test_another_process_has_its_own_time(clock: Clock, worker: subprocess.Popen[str]) -> None:
    patience = Patience(10.0)
    patience.left_s(worker.pid)
    clock.now += 9.0
    assert patience.left_s(os.getpid()) == 10.0


def test_a_command_that_hangs_is_ended() -> None:
    hangs = [sys.executable, "-c", "import signal; signal.pause()"]
    assert run_patiently(hangs, dict(os.environ), still_s=0.0) is None
    told = run_patiently([sys.executable, "-c", "print(1)"], dict(os.environ), still_s=60.0)
    assert told is not None
    assert told.stdout == b"1\n"
