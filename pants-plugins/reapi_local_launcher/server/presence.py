"""Whether a server serves, and if none does, why, such as that it is absent, starting or hung."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from reapi_contract import admin_api
from reapi_contract.data_dir import LAUNCH_LOCK, SERVER_LOCK
from reapi_contract.server_lock import read_holder
from reapi_contract.state import State, read_state
from reapi_local_launcher.labels import Labels
from reapi_local_launcher.launcher_error import LauncherError
from reapi_local_launcher.locks import is_locked
from reapi_local_launcher.paths import data_dir
from reapi_local_launcher.patience import Patience
from reapi_local_launcher.server import admin_client as admin
from reapi_local_launcher.server.process import is_server
from reapi_local_launcher.server.running import Running, find_in
from reapi_local_launcher.server_settings import ServerSettings

_ANSWER_S = 5.0


class Condition(enum.Enum):
    """Why no server serves. OUTDATED: one of a release that can't prove what it is."""

    ABSENT = "absent"
    STARTING = "starting"
    STOPPING = "stopping"
    HUNG = "hung"
    OUTDATED = "outdated"


@dataclass(frozen=True)
class NotServing:
    """No server serves the data directory. `pid` is that of its process, if there is one."""

    condition: Condition
    data_dir: Path
    pid: int | None = None


def look(settings: ServerSettings, env: Mapping[str, str]) -> Running | NotServing:
    """The server of the data directory, or why there is none. Starts and writes nothing.

    A server that is busy has time to answer: 5 seconds without progress. Raises LauncherError if
    the data directory cannot be named.
    """
    return look_in(data_dir(settings, env))


def look_in(directory: Path, still_s: float = _ANSWER_S) -> Running | NotServing:
    """The same as `look`, for the path of a data directory."""
    patience = Patience(still_s)
    while True:
        running = find_in(directory)
        if running is not None:
            return running
        without = condition_of(directory)
        if without.condition is not Condition.HUNG or not patience.left_s(without.pid):
            return without


def condition_of(directory: Path) -> NotServing:
    """Why no server serves a data directory; the caller found that none does."""
    state, holder = read_state(directory), server_process(directory)
    if holder is not None:
        condition = Condition.STARTING
        if state is not None and state.pid == holder:
            condition = _of_ready(state)
        return NotServing(condition, directory, holder)
    if is_locked(directory / SERVER_LOCK) or is_locked(directory / LAUNCH_LOCK):
        return NotServing(Condition.STARTING, directory)
    return NotServing(Condition.ABSENT, directory)


def _of_ready(state: State) -> Condition:
    """Why a server that was ready does not serve: it says that it stops, or no longer listens."""
    try:
        answer = admin.prove(state)
    except admin.AdminTimeoutError:
        return Condition.HUNG
    except admin.AdminRefusedError:
        return Condition.OUTDATED
    except admin.AdminError:
        return Condition.STOPPING
    return Condition.STOPPING if answer.status == admin_api.STOPPING else Condition.HUNG


def server_process(directory: Path) -> int | None:
    """The process of the server on a data directory, ready or not; None if it is unknown."""
    state = read_state(directory)
    for pid in (read_holder(directory), None if state is None else state.pid):
        if pid is not None and is_server(pid, directory):
            return pid
    return None


def explain(without: NotServing, labels: Labels) -> LauncherError:
    """What a user is told about it."""
    process = "A process" if without.pid is None else f"Process {without.pid}"
    where = without.data_dir
    if without.condition is Condition.STARTING:
        return LauncherError(
            "The server is still starting.",
            f"{process} uses {where}, and isn't ready yet.",
            f"Wait for it with `{labels.up}`.",
        )
    if without.condition is Condition.STOPPING:
        return LauncherError(
            "The server is stopping.",
            f"{process} finishes the calls that it still answers.",
            f"Then start it again with `{labels.up}`.",
        )
    if without.condition is Condition.OUTDATED:
        return LauncherError(
            "The server is of an older release.",
            f"{process} can't prove that it is the server of {where}, so it isn't sent the token.",
            f"Replace it with `{labels.up}`.",
        )
    if without.condition is Condition.HUNG:
        return LauncherError(
            "The server runs, but does not answer.",
            f"{process} uses {where}, and makes no progress.",
            f"End it with `{labels.kill}`, which loses nothing that was stored, then run "
            f"`{labels.up}`.",
        )
    return LauncherError(
        "No server is running.", f"None uses {where}.", f"Start one with `{labels.up}`."
    )


def not_serving_json(without: NotServing) -> dict[str, object]:
    """The JSON object of `reapi-local status` where no server serves."""
    return {
        "running": False,
        "condition": without.condition.value,
        "pid": without.pid,
        "data_dir": str(without.data_dir),
    }
