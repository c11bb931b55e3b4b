"""What the goals do: up, check, explain and down for one repository. Imports nothing of Pants."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Optional, Union

from reapi_contract.admin_api import ExecutionStatus
from reapi_contract.proof import Proof
from reapi_contract.status import Status, status_from
from reapi_local_launcher.launcher_error import LauncherError
from reapi_local_launcher.server.execution_status import (
    must_be_as_asked,
    must_be_offered,
    user_notes,
)
from reapi_local_launcher.server.explanations import fetch_explanation
from reapi_local_launcher.server.launch import launch
from reapi_local_launcher.server.presence import NotServing, explain, look
from reapi_local_launcher.server.remote_check import RemoteEndpoint, check_remote
from reapi_local_launcher.server.running import Running, find_running
from reapi_local_launcher.server.self_check import check
from reapi_local_launcher.server.server_status import execution_in, execution_of, fetch_status
from reapi_local_launcher.server.stop import stop
from reapi_local_launcher.server_settings import ServerSettings
from reapi_local_plugin import counted_run
from reapi_local_plugin import options as own_options
from reapi_local_plugin.conflicts import conflicts, execution_conflicts
from reapi_local_plugin.goal_results import Checked, Down, Up, Why
from reapi_local_plugin.interactive_goals import LOCALLY
from reapi_local_plugin.pants_config.switches import (
    EXECUTION,
    ConfigChange,
    switch_off,
    switch_on,
)
from reapi_local_plugin.pants_proofs import configured, last_run
from reapi_local_plugin.report_sender import wait_for_the_last
from reapi_local_plugin.tls_conflicts import tls_conflicts

Progress = Callable[[str], None]
_TOLD_S = 10.0


@dataclass(frozen=True)
class GoalRunner:
    """Runs the goals of one repository.

    `reapi` and `pants` hold the values of `[reapi]` and `[GLOBAL]`. `environments`: the names in
    `[environments-preview]`. `env`: the environment of the run. `instance`: the name of the
    instance that Pants uses. `python`: the interpreter that Pants runs on.
    """

    reapi: Any
    pants: Any
    environments: Sequence[str]
    build_root: Path
    env: Mapping[str, str]
    instance: str
    python: str = sys.executable

    def up(self, progress: Progress, *, execution: bool) -> Up:
        """Start a server if none runs, make Pants use it, and prove that it works.

        `execution`: make Pants run every process on the server too.

        Raises:
            LauncherError: there is no server, or it cannot run processes as asked; then nothing is
                changed.
        """
        settings = self._settings(executes=execution)
        if execution:
            self._must_be_able_to_execute(settings)
        running: Optional[Running] = None
        status: Optional[Status] = None
        offered, address = None, self.reapi.address
        notes: list[str] = []
        if self._is_own:
            running = launch(settings, self.env, progress)
            address = running.grpc_address
            status = status_from(fetch_status(running, settings.labels))
            notes += [*running.notes, *status.notes]
        untrusted = tls_conflicts(self.pants, running.state) if running is not None else []
        if execution and status is not None:
            if untrusted:
                raise _cannot_execute(untrusted, settings)
            offered = execution_in(status)
            must_be_offered(offered, settings.labels)
            must_be_as_asked(offered, settings)
            notes += [*user_notes(offered, settings), *self._execution_notes(offered)]
        proofs = self._server_proofs(running, settings, progress)
        if offered is not None and not all(proof.ok for proof in proofs):
            offered = None
            notes.append("A proof failed, so Pants is set to use the server as a cache only.")
        config = switch_on(self.build_root, self.pants.pants_config_files, offered)
        notes += config.notes
        found: list[str] = []
        if not execution:
            notes += self._executes_anyway(config)
            found = [*self._conflicts(executes=False), *untrusted]
        return Up(address, self.instance, running, offered, config, proofs, notes, found)

    def check(self, progress: Progress) -> Checked:
        """Prove that the server works, that Pants is set to use it, and that it did.

        Raises:
            LauncherError: no Python can try the server that somebody else runs.
        """
        settings = self._settings(executes=self._executes)
        found_server = look(settings, self.env) if self._is_own else None
        proofs = self._server_proofs(found_server, settings, progress)
        running = found_server if isinstance(found_server, Running) else None
        found = self._conflicts(executes=self._executes)
        if running is not None:
            found += tls_conflicts(self.pants, running.state)
        proofs.append(configured(self.pants, self.environments, settings, running, found))
        if running is not None:
            counted = counted_run.read(Path(self.pants.pants_workdir))
            proofs.append(last_run(running, self.instance, settings, counted))
        return Checked(proofs)

    def explain(self, run: str, process: str, *, details: bool) -> Why:
        """Why processes of a run of this repository were no hits.

        Raises:
            LauncherError: no server serves, it is somebody else's, or it knows no such run.
        """
        settings = self._settings(executes=self._executes)
        if not self._is_own:
            raise LauncherError(
                f"Only your own server explains, and Pants uses {self.reapi.address}.",
                "Pants tells nobody else of its processes.",
                f"Set {settings.labels.address}.",
            )
        found = look(settings, self.env)
        if not isinstance(found, Running):
            raise explain(found, settings.labels)
        wait_for_the_last(_TOLD_S)
        answer = fetch_explanation(
            found, settings.labels, run=run, instance=self.instance, process=process
        )
        return Why(answer, details or bool(process))

    def down(self, *, kill: bool) -> Down:
        """Remove what `up` wrote and stop the server, in this order.

        In the other order a build could start the server again in between. Raises LauncherError.
        """
        config = switch_off(self.build_root, self.pants.pants_config_files)
        if not self._is_own:
            return Down(False, config)
        settings = self._settings(executes=False)
        executing = self._executing_now(settings)
        stopped = stop(settings, self.env, kill=kill)
        return Down(stopped, config, executing if stopped else 0)

    def _executing_now(self, settings: ServerSettings) -> int:
        """The number of processes that builds have running on the server; 0 if it is unknown."""
        running = find_running(settings, self.env)
        try:
            return execution_of(running, settings.labels).executing if running else 0
        except LauncherError:
            return 0

    @property
    def _is_own(self) -> bool:
        return own_options.is_own_server(self.reapi)

    @property
    def _executes(self) -> bool:
        """Whether Pants is set to send processes to a server."""
        return bool(self.pants.remote_execution)

    def _settings(self, *, executes: bool) -> ServerSettings:
        return own_options.launcher_settings(self.reapi, executes=executes)

    def _server_proofs(
        self,
        running: Union[Running, NotServing, None],
        settings: ServerSettings,
        progress: Progress,
    ) -> list[Proof]:
        if running is not None:
            return check(running, settings.labels, self.instance)
        endpoint = RemoteEndpoint(
            address=self.reapi.address,
            token_path=self.reapi.token_path,
            ca_certs_path=self.pants.remote_ca_certs_path,
            client_certs_path=getattr(self.pants, "remote_client_certs_path", None),  # since 2.18
            client_key_path=getattr(self.pants, "remote_client_key_path", None),
        )
        return check_remote(endpoint, self.instance, settings, self.env, progress)

    def _conflicts(self, *, executes: bool) -> list[str]:
        found = conflicts(self.reapi, self.pants)
        if executes:
            found += execution_conflicts(self.pants, self.environments, python=self.python)
        return found

    def _must_be_able_to_execute(self, settings: ServerSettings) -> None:
        """Raises LauncherError if builds would fail when Pants sends processes to the server."""
        found = self._conflicts(executes=True)
        if not self._is_own:
            found.append(
                f"Somebody else runs {self.reapi.address}. It may run no processes, and they may "
                "not find the programs of this machine. Set remote_execution in [GLOBAL] yourself, "
                "or [reapi].address to auto."
            )
        if found:
            raise _cannot_execute(found, settings)

    def _execution_notes(self, execution: ExecutionStatus) -> list[str]:
        found = []
        if self.environments:
            found.append(
                "[environments-preview].names is set, so only processes of remote_environment "
                "targets run on the server; all others run where their environment says."
            )
        else:
            found.append(
                "Pants runs interactive processes on this machine only, so `run`, `repl` and "
                f"`test --debug` need a flag: `pants {LOCALLY} run …`."
            )
        if not execution.caches:
            found.append(
                "In this sandbox processes share no directories, so builds of Python environments "
                "repeat work whose results they would find on this machine."
            )
        return found

    def _executes_anyway(self, config: ConfigChange) -> list[str]:
        """A note if Pants still sends processes although this command did not ask for it."""
        if not self._executes or f"{EXECUTION} = true" in config.removed:
            return []
        note = (
            f"Your own configuration sets {EXECUTION}, so Pants runs processes on the server. "
            f"`{own_options.EXECUTION_LABELS.up}` adds the settings that belong to it."
        )
        return [note]


def _cannot_execute(conflicts: Sequence[str], settings: ServerSettings) -> LauncherError:
    return LauncherError(
        "Pants can't run its processes on the server; nothing was changed.",
        " ".join(conflicts),
        f"Then run `{settings.labels.up}`. Without `--execution` the server is a cache.",
    )
