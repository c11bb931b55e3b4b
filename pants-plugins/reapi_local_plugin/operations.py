"""What the goals do: up, check and down for one repository. Imports nothing of Pants."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Optional
from urllib.parse import urlencode, urlsplit

from reapi_local_plugin import options as own_options
from reapi_local_plugin.launcher import admin
from reapi_local_plugin.launcher.check import Proof, check
from reapi_local_plugin.launcher.errors import LauncherError
from reapi_local_plugin.launcher.launch import ensure
from reapi_local_plugin.launcher.running import Running, find_running
from reapi_local_plugin.launcher.stop import stop
from reapi_local_plugin.other_hooks import name_of, other_hook
from reapi_local_plugin.wiring import SWITCHES, Wiring, unwire, wire


@dataclass(frozen=True)
class Up:
    """`running` is None for a server that somebody else runs."""

    address: str
    instance: str
    running: Optional[Running]
    wiring: Wiring
    proofs: Sequence[Proof]
    notes: Sequence[str]

    @property
    def ok(self) -> bool:
        return all(proof.ok for proof in self.proofs)


@dataclass(frozen=True)
class Checked:
    """The proofs, in the order they were tried."""

    proofs: Sequence[Proof]

    @property
    def ok(self) -> bool:
        return all(proof.ok for proof in self.proofs)


@dataclass(frozen=True)
class Down:
    """`stopped`: a server was running."""

    stopped: bool
    wiring: Wiring
    ok: bool = True


@dataclass(frozen=True)
class Operations:
    """`reapi` and `pants` hold the values of `[reapi]` and `[GLOBAL]`; `env` is the run's own."""

    reapi: Any
    pants: Any
    build_root: Path
    env: Mapping[str, str]
    instance: str

    def up(self, progress: Callable[[str], None]) -> Up:
        """Have a server, wire Pants to it, prove that it works. Raises LauncherError."""
        running, address = None, self.reapi.address
        if self._is_own:
            running = ensure(self._settings, self.env, progress)
            address = running.grpc_address
        wiring = wire(self.build_root, self.pants.pants_config_files)
        notes = [*(running.notes if running else ()), *wiring.notes, *self._obstacles()]
        return Up(address, self.instance, running, wiring, self._server_proofs(), notes)

    def check(self) -> Checked:
        """Prove that the server works, that Pants is set to use it, and that it did."""
        proofs = [*self._server_proofs(), self._configured()]
        if self._is_own and proofs[0].ok:
            proofs.append(self._last_run())
        return Checked(proofs)

    def down(self, *, kill: bool) -> Down:
        """Unwire Pants first, so that no build starts the server again. Raises LauncherError."""
        wiring = unwire(self.build_root)
        stopped = self._is_own and stop(self._settings, self.env, kill=kill)
        return Down(stopped, wiring)

    @property
    def _is_own(self) -> bool:
        return own_options.is_own_server(self.reapi)

    @property
    def _settings(self) -> Any:
        return own_options.launcher_settings(self.reapi)

    def _server_proofs(self) -> list[Proof]:
        if self._is_own:
            return check(self._settings, self.env, self.instance)
        return [_reachable(self.reapi.address), _token(self.reapi.token_path)]

    def _obstacles(self) -> list[str]:
        """What keeps Pants from using the server though it is wired; sentences with the cure."""
        found = []
        if own_options.is_off(self.reapi):
            found.append("[reapi].mode is off, so Pants won't use the server; set it to cache.")
        other = other_hook(self.pants.backend_packages, self.pants.plugins)
        if other is not None:
            found.append(
                f"{name_of(other)} provides remote caching too, and reapi-local leaves it to it; "
                "remove one of the two backends."
            )
        if self.pants.remote_store_address is not None:
            found.append(
                f"[GLOBAL].remote_store_address is {self.pants.remote_store_address}, and what you "
                "set there wins; remove it to use this server."
            )
        if self.pants.remote_oauth_bearer_token_path is not None:
            found.append(
                "[GLOBAL].remote_oauth_bearer_token_path is set, which Pants doesn't allow "
                "together with a plugin that brings a token; remove it."
            )
        return found

    def _configured(self) -> Proof:
        name = "configured"
        off = [switch for switch in SWITCHES if not getattr(self.pants, switch)]
        obstacles = self._obstacles()
        if obstacles:
            return Proof(name, False, 0.0, "Pants doesn't use this server", " ".join(obstacles))
        off_text = f"off in [GLOBAL]: {', '.join(off)}"
        if len(off) == len(SWITCHES):
            remedy = (
                f"Run `{self._settings.words.up}`, which turns them on in .pants.rc unless the "
                "repository's own configuration says otherwise."
            )
            return Proof(name, False, 0.0, off_text, remedy)
        # One that is off alone was set so by the user, as where only CI may write.
        detail = "Pants is configured to use it" + (f", but {off_text}" if off else "")
        return Proof(name, True, 0.0, detail, "")

    def _last_run(self) -> Proof:
        """What the server counted for the last run that looked something up."""
        name = "last-run"
        began = time.monotonic()
        running = find_running(self._settings, self.env)
        try:
            query = urlencode({"limit": 1, "instance": self.instance})
            answer = running.call("GET", f"/v1/runs?{query}") if running else {}
        except admin.AdminError as error:
            return Proof(name, False, 0.0, str(error), f"Run `{self._settings.words.up}`.")
        milliseconds = 1000 * (time.monotonic() - began)
        runs = answer.get("runs")
        if not isinstance(runs, list) or not runs:
            detail = "no run has asked for anything since the server started"
            return Proof(name, True, milliseconds, detail, "")
        hits, misses = runs[0]["hits"], runs[0]["misses"]
        detail = f"the last run used it: {hits} hits, {misses} misses"
        return Proof(name, True, milliseconds, detail, "")


def _reachable(address: str) -> Proof:
    """Whether something listens there; round trips are for its own administrator."""
    began = time.monotonic()
    proof = Proof("reachable", True, 0.0, f"{address}, run by somebody else", "")
    try:
        parts = urlsplit(address)
        with socket.create_connection((parts.hostname or "", parts.port or 443), timeout=5):
            return replace(proof, milliseconds=1000 * (time.monotonic() - began))
    except (OSError, ValueError) as error:
        remedy = "Ask who runs it, or set [reapi].address to auto for a server of your own."
        return Proof("reachable", False, 0.0, f"{address}: {error}", remedy)


def _token(path: Optional[str]) -> Proof:
    try:
        own_options.read_token(path)
    except LauncherError as error:
        return Proof("token", False, 0.0, f"{error.what} {error.why}", error.remedy)
    return Proof("token", True, 0.0, "none is sent" if path is None else f"read from {path}", "")
