"""A new token for the server of a data directory, whether it runs or not."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

from reapi_contract import admin_api
from reapi_contract.data_dir import SERVER_LOCK, STATE_FILE
from reapi_contract.state import State, new_token, read_state, write_state
from reapi_local_launcher import paths
from reapi_local_launcher.disk_errors import remedy
from reapi_local_launcher.launcher_error import LauncherError
from reapi_local_launcher.locks import LockTimeoutError, locked
from reapi_local_launcher.server import admin_client as admin
from reapi_local_launcher.server.presence import condition_of, explain
from reapi_local_launcher.server.running import Running, find_in
from reapi_local_launcher.server.stop import launch_lock
from reapi_local_launcher.server_settings import ServerSettings

_ANSWER_S = 5.0
_WHAT = "The token was not changed."


def rotate(
    settings: ServerSettings, env: Mapping[str, str], progress: Callable[[str], None]
) -> bool:
    """Replace the token, so that nothing more can be done with the old one.

    A running server takes the new one at once; calls in flight go on. Returns whether one runs.
    Raises LauncherError.
    """
    data_dir = paths.data_dir(settings, env)
    last = last_state(data_dir, settings)
    with launch_lock(data_dir, settings, progress=progress):
        running = find_in(data_dir, _ANSWER_S)
        if running is not None:
            _rotate_running(running, settings)
        else:
            _rotate_stopped(data_dir, last, settings)
        return running is not None


def last_state(data_dir: Path, settings: ServerSettings) -> State:
    """The state file. Raises LauncherError if no server has written one."""
    state = read_state(data_dir)
    if state is None:
        raise LauncherError(
            "There is no token.",
            f"No server has run on {data_dir} yet.",
            f"Start one with `{settings.labels.up}`.",
        )
    return state


def _rotate_running(running: Running, settings: ServerSettings) -> None:
    try:
        running.call("POST", admin_api.ROTATE_TOKEN)
    except admin.AdminError as error:
        raise LauncherError(
            _WHAT, f"{error}.", f"Restart the server: {settings.labels.restart}; then try again."
        ) from error


def _rotate_stopped(data_dir: Path, last: State, settings: ServerSettings) -> None:
    try:
        # This holds the server's own lock, so no server can start meanwhile.
        with locked(data_dir / SERVER_LOCK, timeout_s=1.0):
            write_state(data_dir / STATE_FILE, replace(last, pid=None, token=new_token()))
    except LockTimeoutError:
        raise explain(condition_of(data_dir), settings.labels) from None
    except OSError as error:
        why, what_to_do = f"{error.strerror or error}: {data_dir}.", remedy(error, settings.labels)
        raise LauncherError(_WHAT, why, what_to_do) from error
