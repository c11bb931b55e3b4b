"""Finding the running server: its state file names it, its answer proves it."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from reapi_local_launcher.paths import data_dir
from reapi_local_launcher.server import admin_client as admin
from reapi_local_launcher.server.process import exists
from reapi_local_launcher.server.state import State, read_state
from reapi_local_launcher.settings import Settings


@dataclass(frozen=True)
class Running:
    """A server that answered a moment ago.

    `outcome`: "found", "started" or "replaced" by the call that returned this. `notes`: sentences
    the user should see, such as a setting that the running server does not have.
    """

    state: State
    pid: int
    grpc_address: str
    milliseconds: float
    outcome: str = "found"
    notes: tuple[str, ...] = ()

    @property
    def token(self) -> str:
        return self.state.token

    @property
    def version(self) -> str:
        return self.state.version

    def with_notes(self, notes: Sequence[str]) -> Running:
        return replace(self, notes=(*self.notes, *notes))

    def call(
        self,
        method: str,
        path: str,
        body: Mapping[str, object] | None = None,
        timeout_s: float = 5.0,
    ) -> admin.Json:
        """One call of its admin interface. Raises `admin.AdminError`."""
        state = self.state
        return admin.call(state.admin_port, state.token, method, path, body, timeout_s)


def find_running(
    settings: Settings, env: Mapping[str, str], timeout_s: float = 1.0
) -> Running | None:
    """The server of the data directory if it is alive, else None. Starts and writes nothing.

    Alive means: it answers with the boot id of the state file within `timeout_s`. So neither a
    stale file nor a recycled process id nor a foreign program on its port is taken for it.
    """
    return find_in(data_dir(settings, env), timeout_s)


def find_in(directory: Path, timeout_s: float = 1.0) -> Running | None:
    """`find_running` for a data directory that is known."""
    for _ in range(2):
        state = read_state(directory)
        if state is None or state.pid is None or not exists(state.pid):
            return None
        began = time.monotonic()
        try:
            health = admin.call(
                state.admin_port, state.token, "GET", "/v1/health", timeout_s=timeout_s
            )
        except admin.AdminError:
            return None
        if health.get("boot_id") == state.boot_id:
            if health.get("status") != "serving":
                return None
            milliseconds = (time.monotonic() - began) * 1000
            return Running(state, state.pid, str(health.get("grpc_address")), milliseconds)
        # Another start of the server answered: the file was read just before it was replaced.
    return None
