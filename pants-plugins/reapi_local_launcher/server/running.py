"""Finds the running server: its state file names it, and it proves that it is this one."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from reapi_contract import admin_api
from reapi_contract.state import State, read_state
from reapi_local_launcher.paths import data_dir
from reapi_local_launcher.server import admin_client as admin
from reapi_local_launcher.server.process import exists
from reapi_local_launcher.server_settings import ServerSettings

_MIN_TIMEOUT_S = 0.05

FOUND, STARTED, REPLACED = "found", "started", "replaced"
"""How a launch came to its server."""


@dataclass(frozen=True)
class Running:
    """A server that answered a moment ago, in `milliseconds`.

    `outcome`: FOUND, STARTED or REPLACED. `notes`: sentences for the user, such as a setting that
    the running server does not have.
    """

    state: State
    pid: int
    grpc_address: str
    milliseconds: float
    outcome: str = FOUND
    notes: tuple[str, ...] = ()

    @property
    def token(self) -> str:
        return self.state.token

    @property
    def version(self) -> str:
        return self.state.version

    def with_notes(self, notes: Sequence[str]) -> Running:
        """The same with more notes."""
        return replace(self, notes=(*self.notes, *notes))

    def call(
        self,
        method: str,
        path: str,
        body: Mapping[str, object] | None = None,
        timeout_s: float = 5.0,
    ) -> admin.Json:
        """Call the server's admin interface once. Raises `admin.AdminError`."""
        return admin.call(self.state, method, path, body, timeout_s)


def find_running(
    settings: ServerSettings, env: Mapping[str, str], timeout_s: float = 1.0
) -> Running | None:
    """The server of the data directory if it serves, else None. Starts and writes nothing.

    It serves if it proves within `timeout_s` that it is the server of the state file. So this never
    returns an old state file, another process with the same id or another program on the port, and
    none of these gets the token.
    Raises LauncherError if the data directory cannot be named.
    """
    return find_in(data_dir(settings, env), timeout_s)


def find_in(directory: Path, timeout_s: float = 1.0) -> Running | None:
    """The same as `find_running`, for the path of a data directory.

    A caller without time left still gives the server 50 ms to answer.
    """
    timeout_s = max(timeout_s, _MIN_TIMEOUT_S)
    for _ in range(2):
        state = read_state(directory)
        if state is None or state.pid is None or not exists(state.pid):
            return None
        began = time.monotonic()
        try:
            answer = admin.prove(state, timeout_s)
        except admin.AdminError:
            if read_state(directory) == state:
                return None
            continue  # a newer server replaced the state file after this function had read it
        if answer.status != admin_api.SERVING:
            return None
        milliseconds = (time.monotonic() - began) * 1000
        return Running(state, state.pid, answer.grpc_address, milliseconds)
    return None
