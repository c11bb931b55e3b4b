"""Stopping the server, and waiting until its process has ended."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path

from reapi_contract import admin_api
from reapi_contract.data_dir import LAUNCH_LOCK, SERVER_LOCK, STATE_FILE
from reapi_contract.state import read_state
from reapi_local_launcher import paths
from reapi_local_launcher.launcher_error import LauncherError
from reapi_local_launcher.locks import LockTimeoutError, is_locked, locked
from reapi_local_launcher.server import admin_client as admin
from reapi_local_launcher.server.process import ExitWatch, is_server
from reapi_local_launcher.server.running import Running, find_in
from reapi_local_launcher.server_settings import ServerSettings

STOP_S = 15.0
"""The server waits 10 s for the calls that it still answers, and needs some time to close."""


@contextmanager
def launch_lock(
    data_dir: Path, settings: ServerSettings, timeout_s: float = 60.0
) -> Iterator[None]:
    """Hold the lock for starting and stopping servers inside the block. Raises LauncherError."""
    lock = data_dir / LAUNCH_LOCK
    labels = settings.labels
    with ExitStack() as stack:
        try:
            stack.enter_context(locked(lock, timeout_s))
        except OSError as error:
            raise LauncherError(
                f"The data directory {data_dir} cannot be used.",
                f"{error.strerror or error}: {lock}.",
                f"Make it writable for this user, or choose another: {labels.data_dir}.",
            ) from error
        except LockTimeoutError:
            raise LauncherError(
                "Another command is starting or stopping the server.",
                f"{lock} was still locked after {timeout_s:.2g} s.",
                f"Wait for that command or end it; then `{labels.up}` starts a server.",
            ) from None
        yield


def stop(
    settings: ServerSettings, env: Mapping[str, str], kill: bool = False, timeout_s: float = STOP_S
) -> bool:
    """Stop the server of the data directory gracefully. False if none was running.

    With `kill`, a server that does not stop is killed; everything that was stored stays. Raises
    LauncherError if the server still runs after `timeout_s`.
    """
    data_dir = paths.data_dir(settings, env)
    if not data_dir.is_dir():
        return False
    with launch_lock(data_dir, settings):
        return stop_locked(data_dir, settings, kill, timeout_s)


def stop_locked(
    data_dir: Path, settings: ServerSettings, kill: bool = False, timeout_s: float = STOP_S
) -> bool:
    """The same as `stop`, for a caller that holds the launch lock."""
    running = find_in(data_dir)
    if running is not None and not kill:
        stop_gracefully(running, settings, timeout_s)
        return True
    state = read_state(data_dir)
    if state is not None and state.pid is not None and is_server(state.pid, data_dir):
        _stop_by_signal(state.pid, data_dir, settings, kill, timeout_s)
        return True
    lock = data_dir / SERVER_LOCK
    if is_locked(lock):
        raise LauncherError(
            "A server uses the data directory, but it is unknown which process that is.",
            f"{lock} is locked, and {STATE_FILE} does not name the process.",
            f"If the server is starting, try again. `fuser {lock}` names the process.",
        )
    return False


def stop_gracefully(running: Running, settings: ServerSettings, timeout_s: float = STOP_S) -> None:
    """Ask a server that answers to stop, and wait for its exit. Raises LauncherError."""
    with closing(ExitWatch(running.pid)) as watch:
        try:
            running.call("POST", admin_api.STOP)
        except admin.AdminRefusedError as error:
            kill = settings.labels.kill
            raise LauncherError(
                "The server refused to stop.", f"It said: {error}.", f"Run `{kill}`."
            ) from error
        except admin.AdminError:
            pass  # It may have ended before it answered. Only its exit counts.
        if not watch.wait(timeout_s):
            raise _does_not_stop(running.pid, timeout_s, settings)


def _stop_by_signal(
    pid: int, data_dir: Path, settings: ServerSettings, kill: bool, timeout_s: float
) -> None:
    with closing(ExitWatch(pid)) as watch:
        if not is_server(pid, data_dir):
            return
        os.kill(pid, signal.SIGKILL if kill else signal.SIGTERM)
        if not watch.wait(timeout_s):
            raise _does_not_stop(pid, timeout_s, settings)


def _does_not_stop(pid: int, waited_s: float, settings: ServerSettings) -> LauncherError:
    return LauncherError(
        "The server does not stop.",
        f"Process {pid} was told to stop and still runs after {waited_s:g} s.",
        f"Kill it with `{settings.labels.kill}`: nothing that was stored is lost.",
    )
