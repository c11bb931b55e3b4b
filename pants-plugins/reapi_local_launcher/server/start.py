"""One start of the server, from its command line to its first answer.

The caller holds the launch lock.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

from reapi_contract import ready_line
from reapi_contract.bounds import DEFAULT_PORT
from reapi_contract.data_dir import SERVER_LOCK
from reapi_contract.ready_line import Ready
from reapi_contract.setting_names import MAX_SIZE, PORT, variable
from reapi_contract.state import State, read_state
from reapi_local_launcher import paths
from reapi_local_launcher.locks import is_locked
from reapi_local_launcher.patience import Patience, Waiting
from reapi_local_launcher.python import prober
from reapi_local_launcher.python.choose_interpreter import Interpreter
from reapi_local_launcher.server import start_errors
from reapi_local_launcher.server.presence import Condition, NotServing, condition_of
from reapi_local_launcher.server.running import STARTED, Running, find_in
from reapi_local_launcher.server.spawn import Spawned, server_command
from reapi_local_launcher.server.timeouts import Deadline, Timeouts
from reapi_local_launcher.server_settings import ServerSettings
from reapi_local_launcher.source import Source

_POLL_S = 0.1


@dataclass(frozen=True)
class StartContext:
    """What a start needs besides an interpreter. All directories exist."""

    settings: ServerSettings
    env: Mapping[str, str]
    data_dir: Path
    support_dir: Path
    source_root: Path
    label: str

    @classmethod
    def make(cls, settings: ServerSettings, env: Mapping[str, str], source: Source) -> StartContext:
        """Make the directories. Raises LauncherError or OSError if they cannot be used."""
        data_dir = paths.make_data_dir(settings, env)
        support_dir = paths.make_support_dir(settings, env)
        root = source.prepare(support_dir)
        return cls(settings, env, data_dir, support_dir, root, source.label)

    @property
    def server_lock(self) -> Path:
        return self.data_dir / SERVER_LOCK

    def spawn(self, chosen: Interpreter) -> Spawned:
        """Start the process. If no limit is set, it gets that of the last start."""
        settings, last = self.settings, read_state(self.data_dir)
        if settings.max_size is None and variable(MAX_SIZE) not in self.env and last:
            settings = replace(settings, max_size=str(last.max_size_bytes))
        command = server_command(chosen, settings, self.data_dir, self.label)
        return Spawned(command, self.env, self.source_root, self.data_dir)


class _Wait(NamedTuple):
    """How long a server of another process is waited for."""

    still_s: float
    patience: Patience
    waiting: Waiting


@dataclass(frozen=True)
class Start:
    """One start, for a caller that holds the launch lock.

    `progress` gets a line if the server takes a few seconds.
    """

    context: StartContext
    chosen: Interpreter
    progress: Callable[[str], None]
    timeouts: Timeouts
    deadline: Deadline

    def run(self) -> Running:
        """Start a server, or find the one that another process starts on the data directory.

        Raises:
            LauncherError: the server could not start, or was not ready in time. After a quick
                launch it then goes on starting; else it was killed.
        """
        while True:
            running = self._other() or self._own()
            if running is not None:
                return running

    def _own(self) -> Running | None:
        """A new server; None if another process has taken the data directory meanwhile."""
        context, labels = self.context, self.context.settings.labels
        last = read_state(context.data_dir)
        with closing(context.spawn(self.chosen)) as spawned:
            patience = Patience(self.timeouts.start_s, self.deadline.left_s)
            line = spawned.ready_line(patience, Waiting(self.progress, _starting(spawned.pid)))
            if line is None and self.timeouts.is_quick:
                raise start_errors.no_time(labels, spawned.pid)
            if line is None:
                spawned.kill()
                why = f"It made no progress for {self.timeouts.start_s:g} s"
                raise start_errors.failed(why, spawned, labels, context.data_dir)
            if isinstance(line, Ready):
                running = self._first_answer(spawned)
                return running.with_notes(_port_notes(context, last, running.state))
            if line.error == ready_line.DATA_DIR_IN_USE:
                return None
            refused = start_errors.refused(line, labels, context.data_dir)
            if refused is None:
                prober.forget(context.support_dir)
                refused = start_errors.failed(line.message, spawned, labels, context.data_dir)
            raise refused

    def _other(self) -> Running | None:
        """The server of another process, as soon as it serves; None if there is no such process."""
        context = self.context
        without = condition_of(context.data_dir)
        wait = self._wait_for(without)
        while is_locked(context.server_lock):
            running = find_in(context.data_dir, self.deadline.limit(1.0))
            if running is not None:
                return running
            now = condition_of(context.data_dir)
            if now != without:
                without, wait = now, self._wait_for(now)
            if wait.patience.left_s(without.pid) == 0:
                raise start_errors.without_progress(
                    without, context.settings.labels, wait.still_s, is_quick=self.timeouts.is_quick
                )
            wait.waiting.tell()
            time.sleep(_POLL_S)
        return None

    def _wait_for(self, without: NotServing) -> _Wait:
        timeouts = self.timeouts
        is_hung = without.condition is Condition.HUNG
        still_s = timeouts.other_s if is_hung else timeouts.start_s
        patience = Patience(still_s, self.deadline.left_s)
        return _Wait(still_s, patience, Waiting(self.progress, _starting(without.pid)))

    def _first_answer(self, spawned: Spawned) -> Running:
        context = self.context
        patience = Patience(self.timeouts.other_s, self.deadline.left_s)
        while True:
            running = find_in(context.data_dir)
            if running is not None:
                return replace(running, outcome=STARTED)
            if patience.left_s(spawned.pid) == 0:
                why = "It said that it was ready, but does not answer"
                labels = context.settings.labels
                raise start_errors.failed(why, spawned, labels, context.data_dir)
            time.sleep(_POLL_S)


def _starting(pid: int | None) -> str:
    process = "" if pid is None else f" (process {pid})"
    return f"Waiting for the server to get ready{process}."


def _port_notes(context: StartContext, last: State | None, state: State) -> list[str]:
    """A note if the port that nobody chose isn't the usual one."""
    if context.settings.port or variable(PORT) in context.env:
        return []
    usual = last.grpc_port if last is not None else DEFAULT_PORT
    if state.grpc_port == usual:
        return []
    which = f"Port {usual}, which the server had last," if last else f"Port {usual}, the usual one,"
    return [f"{which} is in use by another program, so the server has port {state.grpc_port} now."]
