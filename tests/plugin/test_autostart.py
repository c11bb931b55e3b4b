"""A build waits for a server that really starts, and for no other."""

from __future__ import annotations

import logging
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace

import pytest

from patience import PATIENCE_S
from reapi_contract.state import read_state
from reapi_local_launcher.launcher_error import LauncherError
from reapi_local_launcher.server.process import is_server
from reapi_local_plugin.build_server import server_of

# Answers questions at once, and runs the server when it is told to.
_SLOW_PYTHON = """#!/bin/sh
if [ "$1" = -P ]; then read word < {gate}; fi
exec {python} "$@"
"""
_NO_PYTHON = """#!/bin/sh
if [ "$1" = -P ]; then echo 'the cat sat on the keyboard' >&2; exit 9; fi
exec {python} "$@"
"""


class Options:
    """The options as Pants passes them to the hook, for a build."""

    def __init__(self, data_dir: Path, python: str = sys.executable) -> None:
        self.goals = ["test"]
        self.builtin_goal = None
        self.reapi = SimpleNamespace(
            mode="cache",
            address="auto",
            token_path=None,
            instance=None,
            data_dir=str(data_dir),
            port=0,
            max_size=None,
            idle_exit=0,
            server_python=python,
            slots=0,
            hermetic=False,
            sandbox="auto",
            show=[],
            autostart=True,
        )

    def for_global_scope(self) -> SimpleNamespace:
        return SimpleNamespace(remote_execution=False)


class Clock:
    """The launcher's clock. What it shows beyond the real time is up to the test."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.ahead_s = 0.0
        real = time.monotonic
        patch.setattr(time, "monotonic", lambda: real() + self.ahead_s)


@pytest.fixture
def data_dir(tmp_path: Path) -> Iterator[Path]:
    path = tmp_path / "data"
    yield path
    state = read_state(path)
    if state is not None and state.pid and is_server(state.pid, path):
        os.kill(state.pid, signal.SIGKILL)


@pytest.fixture
def env(tmp_path: Path) -> dict[str, str]:
    return {"HOME": str(tmp_path), "PATH": os.environ["PATH"]}


@pytest.fixture
def said(caplog: pytest.LogCaptureFixture) -> Iterator[Callable[[str], None]]:
    """Waits until the hook has logged something."""
    caplog.set_level(logging.INFO)
    more = threading.Condition()

    class Listener(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            with more:
                more.notify_all()

    def wait_for(text: str) -> None:
        with more:
            assert more.wait_for(lambda: any(text in line for line in caplog.messages), PATIENCE_S)

    listener = Listener()
    logging.getLogger().addHandler(listener)
    yield wait_for
    logging.getLogger().removeHandler(listener)


def script(path: Path, text: str) -> str:
    path.write_text(text)
    path.chmod(0o755)
    return str(path)


def address(options: Options, env: dict[str, str]) -> str:
    return server_of(options, options.reapi, env, Path("/repository"))[0]


@pytest.mark.parametrize("builds", [1, 2])
def test_builds_wait_for_the_server_that_one_of_them_starts(
    data_dir: Path,
    env: dict[str, str],
    tmp_path: Path,
    said: Callable[[str], None],
    monkeypatch: pytest.MonkeyPatch,
    builds: int,
) -> None:
    gate = tmp_path / "gate"
    os.mkfifo(gate)
    slow = script(tmp_path / "slow", _SLOW_PYTHON.format(gate=gate, python=sys.executable))
    clock = Clock(monkeypatch)
    with ThreadPoolExecutor(builds) as pool:
        futures = [pool.submit(address, Options(data_dir, slow), env) for _ in range(builds)]
        with gate.open("wb") as opened:  # waits until the server has been started
            clock.ahead_s = 5.0
            said("Waiting for the server to get ready")
            opened.write(b"go\n")
        found = {future.result() for future in futures}
    state = read_state(data_dir)
    assert state is not None
    assert found == {f"grpc://127.0.0.1:{state.grpc_port}"}


def test_a_build_gives_up_at_once_when_the_server_ended(
    data_dir: Path, env: dict[str, str], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    broken = script(tmp_path / "broken", _NO_PYTHON.format(python=sys.executable))
    with pytest.raises(Exception, match="the cat sat on the keyboard") as raised:
        address(Options(data_dir, broken), env)
    assert "could not start" in str(raised.value)
    assert caplog.messages == []


def test_a_build_goes_without_a_server_that_hangs_and_says_how_to_end_it(
    data_dir: Path, env: dict[str, str]
) -> None:
    address(Options(data_dir), env)
    state = read_state(data_dir)
    assert state is not None
    assert state.pid is not None
    os.kill(state.pid, signal.SIGSTOP)
    with pytest.raises(Exception, match="runs, but does not answer") as raised:
        address(Options(data_dir), env)
    assert f"Process {state.pid} " in str(raised.value)
    assert "`pants reapi-down --kill`" in str(raised.value)


def test_a_directory_that_others_may_write_is_not_used(data_dir: Path, env: dict[str, str]) -> None:
    data_dir.mkdir()
    data_dir.chmod(0o777)
    with pytest.raises(LauncherError) as caught:
        address(Options(data_dir), env)
    assert f"chmod go-w {data_dir}" in str(caught.value)
    assert "[reapi].data_dir" in str(caught.value)
    assert list(data_dir.iterdir()) == []
