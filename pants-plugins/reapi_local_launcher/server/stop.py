"""Stopping the server and waiting until it has really gone."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path

from reapi_local_launcher import paths
from reapi_local_launcher.errors import LauncherError
from reapi_local_launcher.locks import LockTimeoutError, is_locked, locked
from reapi_local_launcher.server import admin_client as admin
from reapi_local_launcher.server.process import ExitWatch, is_server
from reapi_local_launcher.server.running import Running, find_in
from reapi_local_launcher.server.state import read_state
from reapi_local_launcher.settings import Settings

# The server gives calls in flight 10 s.
STOP_S = 15.0


@contextmanager
def launch_lock(data_dir: Path, settings: Settings, timeout_s: float = 60.0) -> Iterator[None]:
    """Hold the lock under which servers are started and stopped. Raises LauncherError."""
    lock = data_dir / "launch.lock"
    with ExitStack() as stack:
        try:
            stack.enter_context(locked(lock, timeout_s))
        except OSError as error:
            raise LauncherError(
                f"The data directory {data_dir} cannot be used.",
                f"{error.strerror or error}: {lock}.",
                f"Make it writable for this user, or choose another: {settings.words.data_dir}.",
            ) from error
        except LockTimeoutError:
            raise LauncherError(
                "Another command is starting or stopping the server.",
                f"It has held {lock} for {timeout_s:g} s.",
                f"Wait for that command or end it; then `{settings.words.up}` starts a server.",
            ) from None
        yield


def stop(
    settings: Settings, env: Mapping[str, str], kill: bool = False, timeout_s: float = STOP_S
) -> bool:
    """Stop the server of the data directory in good order. False if none was running.

    With `kill`, one that does not end in good order is killed; what was acknowledged stays stored.
    Raises LauncherError.
    """
    data_dir = paths.data_dir(settings, env)
    if not data_dir.is_dir():
        return False
    with launch_lock(data_dir, settings):
        return stop_locked(data_dir, settings, kill, timeout_s)


def stop_locked(
    data_dir: Path, settings: Settings, kill: bool = False, timeout_s: float = STOP_S
) -> bool:
    """`stop` for a caller that holds the launch lock."""
    running = find_in(data_dir)
    if running is not None and not kill:
        stop_gracefully(running, settings, timeout_s)
        return True
    state = read_state(data_dir)
    if state is not None and state.pid is not None and is_server(state.pid, data_dir):
        _stop_by_signal(state.pid, data_dir, settings, kill, timeout_s)
        return True
    if is_locked(data_dir / "server.lock"):
        raise LauncherError(
            "A server has the data directory, but which process it is cannot be told.",
            f"{data_dir / 'server.lock'} is locked, and server.json does not name its holder.",
            f"If it is starting, try again. `fuser {data_dir / 'server.lock'}` names the process.",
        )
    return False


def stop_gracefully(running: Running, settings: Settings, timeout_s: float = STOP_S) -> None:
    """Ask a server that answers to stop, and wait for its exit. Raises LauncherError."""
    with closing(ExitWatch(running.pid)) as watch:
        try:
            running.call("POST", "/v1/stop")
        except admin.AdminRefusedError as error:
            raise LauncherError(
                "The server refused to stop.", f"It said: {error}.", f"Run `{settings.words.kill}`."
            ) from error
        except admin.AdminError:
            pass  # It may have ended before it answered; its exit is what counts.
        if not watch.wait(timeout_s):
            raise _stays(running.pid, timeout_s, settings)


def _stop_by_signal(
    pid: int, data_dir: Path, settings: Settings, kill: bool, timeout_s: float
) -> None:
    with closing(ExitWatch(pid)) as watch:
        if not is_server(pid, data_dir):
            return
        os.kill(pid, signal.SIGKILL if kill else signal.SIGTERM)
        if not watch.wait(timeout_s):
            raise _stays(pid, timeout_s, settings)


def _stays(pid: int, waited_s: float, settings: Settings) -> LauncherError:
    return LauncherError(
        "The server does not stop.",
        f"Process {pid} was asked to and is still there after {waited_s:g} s.",
        f"Kill it with `{settings.words.kill}`: nothing that was stored is lost.",
    )
