"""What the goals do: up, check and down for one repository. Imports nothing of Pants."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Optional
from urllib.parse import urlencode

from reapi_local_launcher.errors import LauncherError
from reapi_local_launcher.server import admin_client as admin
from reapi_local_launcher.server.check import Proof, check, status, status_of
from reapi_local_launcher.server.execution import (
    Execution,
    execution_in,
    must_be_as_asked,
    must_be_offered,
    user_notes,
)
from reapi_local_launcher.server.launch import ensure
from reapi_local_launcher.server.remote_check import Remote, check_remote
from reapi_local_launcher.server.running import Running, find_running
from reapi_local_launcher.server.stop import stop
from reapi_local_launcher.settings import Settings
from reapi_local_plugin import options as own_options
from reapi_local_plugin.conflicts import obstacles, to_execution
from reapi_local_plugin.pants_config.switches import (
    EXECUTION,
    PARALLELISM,
    SWITCHES,
    Wiring,
    unwire,
    wire,
)


@dataclass(frozen=True)
class Up:
    """`running` is None for a server that somebody else runs, `execution` if it's a cache alone.

    `obstacles`: why Pants won't use the server though it's wired.
    """

    address: str
    instance: str
    running: Optional[Running]
    execution: Optional[Execution]
    wiring: Wiring
    proofs: Sequence[Proof]
    notes: Sequence[str]
    obstacles: Sequence[str] = ()  # with execution they are errors

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
    """`stopped`: a server was running, and that many processes of builds `executing` on it."""

    stopped: bool
    wiring: Wiring
    executing: int = 0
    ok: bool = True


@dataclass(frozen=True)
class Operations:
    """`reapi` and `pants` hold the values of `[reapi]` and `[GLOBAL]`; `env` is the run's own.

    `environments`: the names of `[environments-preview]`.
    """

    reapi: Any
    pants: Any
    environments: Sequence[str]
    build_root: Path
    env: Mapping[str, str]
    instance: str
    python: str = sys.executable

    def up(self, progress: Callable[[str], None], *, execution: bool) -> Up:
        """Have a server, wire Pants to it, prove that it works. Raises LauncherError.

        `execution`: to run every process there; where that can't be, nothing is changed.
        """
        settings = self._settings(executes=execution)
        if execution:
            self._must_be_able_to_execute(settings)
        running, offer, address = None, None, self.reapi.address
        notes: list[str] = []
        if self._is_own:
            running = ensure(settings, self.env, progress)
            address = running.grpc_address
            notes += running.notes
        if execution and running is not None:
            offer = execution_in(status_of(running, settings.words))
            must_be_offered(offer, settings.words)
            must_be_as_asked(offer, settings)
            notes += [*user_notes(offer, settings), *self._execution_notes(offer)]
        proofs = self._server_proofs(settings, progress)
        if offer is not None and not all(proof.ok for proof in proofs):
            offer = None
            notes.append("A proof failed, so Pants is set to use the server as a cache alone.")
        wiring = wire(self.build_root, self.pants.pants_config_files, offer)
        notes += wiring.notes
        if execution:
            return Up(address, self.instance, running, offer, wiring, proofs, notes)
        notes += self._executes_anyway(wiring)
        found = self._obstacles(executes=False)
        return Up(address, self.instance, running, offer, wiring, proofs, notes, found)

    def check(self, progress: Callable[[str], None]) -> Checked:
        """Prove that the server works, that Pants is set to use it, and that it did.

        Raises LauncherError when there is no Python to try the server of somebody else with.
        """
        settings = self._settings(executes=self._executes)
        proofs = self._server_proofs(settings, progress)
        is_up = self._is_own and proofs[0].ok
        proofs.append(self._configured(settings, is_up))
        if is_up:
            proofs.append(self._last_run(settings))
        return Checked(proofs)

    def down(self, *, kill: bool) -> Down:
        """Unwire Pants first, so that no build starts the server again. Raises LauncherError."""
        wiring = unwire(self.build_root, self.pants.pants_config_files)
        if not self._is_own:
            return Down(False, wiring)
        settings = self._settings(executes=False)
        executing = self._executing_now(settings)
        stopped = stop(settings, self.env, kill=kill)
        return Down(stopped, wiring, executing if stopped else 0)

    def _executing_now(self, settings: Settings) -> int:
        """Processes that builds have running on the server; 0 for one that doesn't say."""
        running = find_running(settings, self.env)
        try:
            return execution_in(status_of(running, settings.words)).executing if running else 0
        except LauncherError:
            return 0

    @property
    def _is_own(self) -> bool:
        return own_options.is_own_server(self.reapi)

    @property
    def _executes(self) -> bool:
        """Whether Pants is set to send processes to a server."""
        return bool(self.pants.remote_execution)

    def _settings(self, *, executes: bool) -> Settings:
        return own_options.launcher_settings(self.reapi, executes=executes)

    def _server_proofs(self, settings: Settings, progress: Callable[[str], None]) -> list[Proof]:
        if self._is_own:
            return check(settings, self.env, self.instance)
        remote = Remote(
            address=self.reapi.address,
            token_path=self.reapi.token_path,
            ca_certs_path=self.pants.remote_ca_certs_path,
            client_certs_path=getattr(self.pants, "remote_client_certs_path", None),  # since 2.18
            client_key_path=getattr(self.pants, "remote_client_key_path", None),
        )
        return check_remote(remote, self.instance, settings, self.env, progress)

    def _obstacles(self, *, executes: bool) -> list[str]:
        found = obstacles(self.reapi, self.pants)
        if executes:
            found += to_execution(self.pants, self.environments, python=self.python)
        return found

    def _must_be_able_to_execute(self, settings: Settings) -> None:
        """Raises LauncherError where builds would fail if Pants sent its processes away."""
        found = self._obstacles(executes=True)
        if not self._is_own:
            found.append(
                f"{self.reapi.address} is run by somebody else: whether it runs processes, and "
                "whether they find there what they need of this machine, can't be told from here. "
                "Set remote_execution in [GLOBAL] yourself, or [reapi].address to auto."
            )
        if found:
            raise LauncherError(
                "Pants can't run its processes on the server; nothing was changed.",
                " ".join(found),
                f"Then run `{settings.words.up}`. Without `--execution` the server is a cache.",
            )

    def _execution_notes(self, offer: Execution) -> list[str]:
        found = []
        if self.environments:
            found.append(
                "[environments-preview].names is set, so only processes of remote_environment "
                "targets run on the server; all others stay where their environment says."
            )
        if not offer.caches:
            found.append(
                "This sandbox gives processes no directories to share, so builds of Python "
                "environments repeat work that they would find done on this machine."
            )
        return found

    def _executes_anyway(self, wiring: Wiring) -> list[str]:
        """What to say if Pants goes on sending processes though it wasn't asked to here."""
        if not self._executes or f"{EXECUTION} = true" in wiring.removed:
            return []
        note = (
            f"Your own configuration sets {EXECUTION}, so Pants runs processes on the server. "
            f"`{own_options.EXECUTION_WORDS.up}` adds the settings that belong to it."
        )
        return [note]

    def _configured(self, settings: Settings, is_up: bool) -> Proof:
        name = "configured"
        found = self._obstacles(executes=self._executes)
        if found:
            return Proof(name, False, 0.0, "Pants doesn't use this server", " ".join(found))
        off = [switch for switch in SWITCHES if not getattr(self.pants, switch)]
        off_text = f"off in [GLOBAL]: {', '.join(off)}"
        if len(off) == len(SWITCHES) and not self._executes:
            remedy = (
                f"Run `{settings.words.up}`, which turns them on in .pants.rc unless the "
                "repository's own configuration says otherwise."
            )
            return Proof(name, False, 0.0, off_text, remedy)
        detail = "Pants is configured to use it"
        if self._executes:
            try:
                detail += f" {self._runs_where(settings, is_up)}"
            except LauncherError as error:
                return Proof(name, False, 0.0, f"{error.what} {error.why}", error.remedy)
        # One that is off alone was set so by the user, as where only CI may write.
        return Proof(name, True, 0.0, detail + (f", but {off_text}" if off else ""), "")

    def _runs_where(self, settings: Settings, is_up: bool) -> str:
        """How Pants uses a server that runs processes. Raises LauncherError if ours can't."""
        what = "processes of remote_environment targets" if self.environments else "every process"
        at_once = getattr(self.pants, PARALLELISM)
        if is_up:
            offer = execution_in(status(settings, self.env) or {})
            must_be_offered(offer, settings.words)
            must_be_as_asked(offer, settings)
            at_once = min(at_once, offer.slots)
        return f"for {what}, {at_once} at once"

    def _last_run(self, settings: Settings) -> Proof:
        """What the server counted for the last run that looked something up."""
        name = "last-run"
        began = time.monotonic()
        running = find_running(settings, self.env)
        try:
            query = urlencode({"limit": 1, "instance": self.instance})
            answer = running.call("GET", f"/v1/runs?{query}") if running else {}
        except admin.AdminError as error:
            return Proof(name, False, 0.0, str(error), f"Run `{settings.words.up}`.")
        milliseconds = 1000 * (time.monotonic() - began)
        runs = answer.get("runs")
        if not isinstance(runs, list) or not runs:
            detail = "no run has asked for anything since the server started"
            return Proof(name, True, milliseconds, detail, "")
        hits, misses = runs[0]["hits"], runs[0]["misses"]
        detail = f"the last run used it: {hits} hits, {misses} misses"
        return Proof(name, True, milliseconds, detail, "")
