"""One start of the server, from its command line to its first answer. The caller holds the launch
lock."""

from __future__ import annotations

import time
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path

from reapi_local_launcher import paths
from reapi_local_launcher.errors import LauncherError
from reapi_local_launcher.locks import is_locked
from reapi_local_launcher.python import interpreter
from reapi_local_launcher.python.interpreter import Interpreter
from reapi_local_launcher.server.process import is_server
from reapi_local_launcher.server.running import Running, find_in
from reapi_local_launcher.server.spawn import Spawned, server_command
from reapi_local_launcher.server.state import read_state
from reapi_local_launcher.settings import Settings
from reapi_local_launcher.source import Source


@dataclass(frozen=True)
class Place:
    """What a start needs besides an interpreter: settings, directories that exist, the source."""

    settings: Settings
    env: Mapping[str, str]
    data_dir: Path
    support_dir: Path
    source_root: Path
    label: str

    @classmethod
    def make(cls, settings: Settings, env: Mapping[str, str], source: Source) -> Place:
        """Make the directories. Raises LauncherError if they cannot be used."""
        data_dir = paths.make_data_dir(settings, env)
        support_dir = paths.make_support_dir(settings, env)
        root = source.prepare(support_dir)
        return cls(settings, env, data_dir, support_dir, root, source.label)

    @property
    def launch_lock(self) -> Path:
        return self.data_dir / "launch.lock"

    @property
    def server_lock(self) -> Path:
        return self.data_dir / "server.lock"

    def spawn(self, chosen: Interpreter) -> Spawned:
        """Start the process. A limit that nobody sets stays what it was at the last start."""
        settings, last = self.settings, read_state(self.data_dir)
        if settings.max_size is None and "REAPI_LOCAL_MAX_SIZE" not in self.env and last:
            settings = replace(settings, max_size=str(last.max_size_bytes))
        command = server_command(chosen, settings, self.data_dir, self.label)
        return Spawned(command, self.env, self.source_root, self.data_dir)


def start(place: Place, chosen: Interpreter, start_s: float, other_s: float) -> Running:
    """Start a server, or take over one that another hand starts at this moment.

    Waits `start_s` for ours and `other_s` for whoever has the data directory, starting or stopping.
    Raises LauncherError.
    """
    give_up = time.monotonic() + other_s
    while True:
        with closing(place.spawn(chosen)) as spawned:
            report = spawned.report(start_s)
            if report is None:
                spawned.kill()
                raise _failed(place, f"It was not ready after {start_s:g} s", spawned)
            if report.get("error") != "data-dir-in-use":
                return _result(place, spawned, report)
        while is_locked(place.server_lock):
            running = find_in(place.data_dir)
            if running is not None:
                return running
            if time.monotonic() > give_up:
                raise _hung(place, other_s)
            time.sleep(0.1)


def start_once(place: Place, chosen: Interpreter, timeout_s: float) -> Running | None:
    """Start a server; None if it is not ready in time, in which case it goes on starting.

    Raises LauncherError.
    """
    with closing(place.spawn(chosen)) as spawned:
        report = spawned.report(timeout_s)
        if report is None or report.get("error") == "data-dir-in-use":
            return None
        return _result(place, spawned, report)


def _result(place: Place, spawned: Spawned, report: Mapping[str, object]) -> Running:
    if report.get("ready") is True:
        running = find_in(place.data_dir, timeout_s=5.0)
        if running is None:
            raise _failed(place, "It said it was ready, but does not answer", spawned)
        return replace(running, outcome="started")
    words = place.settings.words
    remedies = {
        "settings": "Correct that setting.",
        "port-in-use": f"Choose another {words.port}, or leave it out and a free one is taken.",
        "data-dir-unusable": f"Choose another directory with {words.data_dir}.",
    }
    remedy = remedies.get(str(report.get("error")))
    if remedy is not None:
        raise LauncherError("The server could not start.", str(report.get("message")), remedy)
    interpreter.forget(place.support_dir)
    if report:
        raise _failed(place, str(report.get("message")), spawned)
    raise _failed(place, "It ended before it was ready", spawned)


def _failed(place: Place, why: str, spawned: Spawned) -> LauncherError:
    tail = spawned.log_tail()
    return LauncherError(
        "The server could not start.",
        f"{why.rstrip('.')}. It ran on {spawned.python}"
        + (f" and wrote:\n    {tail}" if tail else "."),
        f"Its whole log is {place.data_dir / 'server.log'}. If its Python is at fault, name "
        f"another one with {place.settings.words.server_python}.",
    )


def _hung(place: Place, waited_s: float) -> LauncherError:
    words = place.settings.words
    state = read_state(place.data_dir)
    pid = state.pid if state is not None else None
    known = pid is not None and is_server(pid, place.data_dir)
    who = f"Process {pid}" if known else "A process"
    return LauncherError(
        "A server has the data directory, but does not answer.",
        f"{who} holds {place.server_lock} and gave no answer for {waited_s:g} s.",
        f"End it with `{words.kill}`, which loses nothing that was stored, then run `{words.up}`.",
    )
