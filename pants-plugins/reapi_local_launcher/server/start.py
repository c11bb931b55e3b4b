"""One start of the server, from its command line to its first answer.

The caller holds the launch lock.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path

from reapi_contract import ready_line
from reapi_contract.data_dir import LOG_FILE, SERVER_LOCK
from reapi_contract.ready_line import NotStarted, Ready
from reapi_contract.setting_names import MAX_SIZE, variable
from reapi_contract.state import read_state
from reapi_local_launcher import paths
from reapi_local_launcher.launcher_error import LauncherError
from reapi_local_launcher.locks import is_locked
from reapi_local_launcher.python import prober
from reapi_local_launcher.python.choose_interpreter import Interpreter
from reapi_local_launcher.server.process import is_server
from reapi_local_launcher.server.running import STARTED, Running, find_in
from reapi_local_launcher.server.spawn import Spawned, server_command
from reapi_local_launcher.server.timeouts import Deadline, Timeouts
from reapi_local_launcher.server_settings import ServerSettings
from reapi_local_launcher.source import Source


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


def start(
    context: StartContext, chosen: Interpreter, timeouts: Timeouts, deadline: Deadline
) -> Running:
    """Start a server, or find the one that another process starts on the same data directory.

    Raises:
        LauncherError: the server could not start, or was not ready in time. After a quick launch
            it then goes on starting; else it was killed.
    """
    give_up = time.monotonic() + deadline.limit(timeouts.other_s)
    while True:
        with closing(context.spawn(chosen)) as spawned:
            line = spawned.ready_line(deadline.limit(timeouts.start_s))
            if line is None and timeouts.is_quick:
                raise _still_starting(context)
            if line is None:
                spawned.kill()
                raise _failed(context, f"It was not ready after {timeouts.start_s:g} s", spawned)
            if isinstance(line, Ready):
                return _first_answer(context, spawned)
            if line.error != ready_line.DATA_DIR_IN_USE:
                raise _not_started(context, spawned, line)
        while is_locked(context.server_lock):
            running = find_in(context.data_dir, deadline.limit(1.0))
            if running is not None:
                return running
            if time.monotonic() > give_up:
                raise _still_starting(context) if timeouts.is_quick else _hung(context, timeouts)
            time.sleep(0.1)


def _first_answer(context: StartContext, spawned: Spawned) -> Running:
    running = find_in(context.data_dir, timeout_s=5.0)
    if running is None:
        raise _failed(context, "It said that it was ready, but does not answer", spawned)
    return replace(running, outcome=STARTED)


def _not_started(context: StartContext, spawned: Spawned, line: NotStarted) -> LauncherError:
    labels = context.settings.labels
    remedies = {
        ready_line.SETTINGS: "Correct that setting.",
        ready_line.PORT_IN_USE: f"Choose another {labels.port}, or leave it out to get a free one.",
        ready_line.DATA_DIR_UNUSABLE: f"Choose another directory with {labels.data_dir}.",
    }
    remedy = remedies.get(line.error)
    if remedy is not None:
        return LauncherError("The server could not start.", line.message, remedy)
    prober.forget(context.support_dir)
    return _failed(context, line.message, spawned)


def _failed(context: StartContext, why: str, spawned: Spawned) -> LauncherError:
    tail = spawned.log_tail()
    return LauncherError(
        "The server could not start.",
        f"{why.rstrip('.')}. It ran on {spawned.python}"
        + (f" and wrote:\n    {tail}" if tail else "."),
        f"Its whole log is {context.data_dir / LOG_FILE}. If its Python is the cause, name "
        f"another one with {context.settings.labels.server_python}.",
    )


def _still_starting(context: StartContext) -> LauncherError:
    return LauncherError(
        "The server is still starting.",
        "There was no time to wait for it.",
        f"The next command will find it; `{context.settings.labels.up}` waits for it.",
    )


def _hung(context: StartContext, timeouts: Timeouts) -> LauncherError:
    labels = context.settings.labels
    state = read_state(context.data_dir)
    pid = state.pid if state is not None else None
    known = pid is not None and is_server(pid, context.data_dir)
    holder = f"Process {pid}" if known else "A process"
    return LauncherError(
        "A server uses the data directory, but does not answer.",
        f"{holder} holds {context.server_lock} and gave no answer for {timeouts.other_s:g} s.",
        f"End it with `{labels.kill}`, which loses nothing that was stored, then run "
        f"`{labels.up}`.",
    )
