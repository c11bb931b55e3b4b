"""Stopping the server, and waiting until its process has ended."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path

from reapi_contract import admin_api, port_holder
from reapi_contract.data_dir import LAUNCH_LOCK, SERVER_LOCK, STATE_FILE
from reapi_local_launcher import paths
from reapi_local_launcher.disk_errors import remedy
from reapi_local_launcher.launcher_error import LauncherError
from reapi_local_launcher.locks import LockTimeoutError, is_locked, locked
from reapi_local_launcher.patience import Patience, Waiting
from reapi_local_launcher.server import admin_client as admin
from reapi_local_launcher.server.presence import server_process
from reapi_local_launcher.server.process import ExitWatch, is_server
from reapi_local_launcher.server.running import Running, find_in
from reapi_local_launcher.server.timeouts import THOROUGH
from reapi_local_launcher.server_settings import ServerSettings

STOP_S = 15.0
"""How long a server that stops may make no progress. It waits 10 s for calls in flight."""

_POLL_S = 0.5


@contextmanager
def launch_lock(
    data_dir: Path,
    settings: ServerSettings,
    timeout_s: float = THOROUGH.lock_s,
    progress: Callable[[str], None] = lambda line: None,
) -> Iterator[None]:
    """Hold the lock for starting and stopping servers inside the block. Raises LauncherError.

    `progress` gets a line if this takes a few seconds.
    """
    lock = data_dir / LAUNCH_LOCK
    labels = settings.labels
    waiting = Waiting(progress, "Waiting for another command that starts or stops the server.")
    with ExitStack() as stack:
        try:
            stack.enter_context(locked(lock, timeout_s, waiting.tell))
        except OSError as error:
            raise LauncherError(
                f"The data directory {data_dir} cannot be used.",
                f"{error.strerror or error}: {lock}.",
                remedy(error, labels),
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

    The ports of a server that was killed are free afterwards, too.
    With `kill`, a server that does not stop is killed; everything that was stored stays. Raises
    LauncherError if the server still runs after `timeout_s` without progress.
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
    has_stopped = _stop_locked(data_dir, settings, kill, timeout_s)
    if not is_locked(data_dir / SERVER_LOCK):
        port_holder.end_if_any(data_dir)
    return has_stopped


def _stop_locked(data_dir: Path, settings: ServerSettings, kill: bool, timeout_s: float) -> bool:
    running = find_in(data_dir)
    if running is not None and not kill:
        stop_gracefully(running, settings, timeout_s)
        return True
    pid = server_process(data_dir)
    if pid is not None:
        _stop_by_signal(pid, data_dir, settings, kill, timeout_s)
        return True
    lock = data_dir / SERVER_LOCK
    if is_locked(lock):
        raise LauncherError(
            "A server uses the data directory, but it is unknown which process that is.",
            f"{lock} is locked, and neither it nor {STATE_FILE} names the process.",
            f"Try again in a moment. `fuser {lock}` names the process.",
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
        if not _has_ended(watch, running.pid, timeout_s):
            raise _does_not_stop(running.pid, timeout_s, settings)


def _stop_by_signal(
    pid: int, data_dir: Path, settings: ServerSettings, kill: bool, timeout_s: float
) -> None:
    with closing(ExitWatch(pid)) as watch:
        if not is_server(pid, data_dir):
            return
        os.kill(pid, signal.SIGKILL if kill else signal.SIGTERM)
        if not _has_ended(watch, pid, timeout_s):
            raise _does_not_stop(pid, timeout_s, settings)


def _has_ended(watch: ExitWatch, pid: int, still_s: float) -> bool:
    """Wait for the exit of a process for as long as it makes progress."""
    patience = Patience(still_s)
    while not watch.wait(min(left_s := patience.left_s(pid), _POLL_S)):
        if left_s == 0:
            return False
    return True


def _does_not_stop(pid: int, waited_s: float, settings: ServerSettings) -> LauncherError:
    return LauncherError(
        "The server does not stop.",
        f"Process {pid} was told to stop, and made no progress for {waited_s:g} s.",
        f"Kill it with `{settings.labels.kill}`: nothing that was stored is lost.",
    )
