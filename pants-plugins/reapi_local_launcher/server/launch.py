"""Making sure that one server runs: `ensure`, and `start_if_ready`, which never waits long."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Union

from reapi_local_launcher import paths
from reapi_local_launcher.errors import LauncherError
from reapi_local_launcher.server.running import Running, find_in
from reapi_local_launcher.settings import Settings
from reapi_local_launcher.sizes import format_size
from reapi_local_launcher.source import Source, find_source
from reapi_local_launcher.version import Verdict, judge


@dataclass(frozen=True)
class Patience:
    """Seconds to wait: for a start, for a server that others start or stop, for a launcher."""

    start_s: float = 30.0
    other_s: float = 12.0
    lock_s: float = 60.0


@dataclass(frozen=True)
class NotReady:
    """Why no server could be had at once, in plain words, and what to do."""

    reason: str
    remedy: str


Readiness = Union[Running, NotReady]


def ensure(
    settings: Settings,
    env: Mapping[str, str],
    progress: Callable[[str], None],
    source: Source | None = None,
    patience: Patience = Patience(),
) -> Running:
    """The server of the data directory, started or replaced if need be.

    An older release, or another source of the same one, is stopped in good order and replaced; a
    newer one is kept. `progress` gets a line for whatever takes longer. Raises LauncherError.
    """
    source = source or find_source()
    running = find_in(paths.data_dir(settings, env))
    if running is not None and _may_stay(running, source):
        return with_notes(running, settings, source)
    try:
        return _launch(settings, env, progress, source, patience)
    except OSError as error:
        raise LauncherError(
            "The server could not be started.",
            f"{error}.",
            f"Make room or give this user the right; {settings.words.data_dir} moves the server's "
            "data elsewhere.",
        ) from error


def start_if_ready(
    settings: Settings,
    env: Mapping[str, str],
    deadline_s: float = 2.0,
    source: Source | None = None,
) -> Readiness:
    """Like `ensure` for a hook before every command: never builds an environment, never waits long.

    A server that runs is taken whatever its version, with a note if `ensure` would replace it:
    other commands may be using it right now. A start that is not done by the deadline goes on, for
    the next command to find. What goes wrong is an answer, not an exception.
    """
    deadline = time.monotonic() + deadline_s
    try:
        running = find_in(paths.data_dir(settings, env), min(1.0, deadline_s))
        source = source or find_source()
        if running is not None:
            return with_notes(running, settings, source)
        return _start_by(deadline, settings, env, source)
    except LauncherError as error:
        return NotReady(f"{error.what} {error.why}", error.remedy)
    except OSError as error:
        return NotReady(f"The server could not be started: {error}.", f"Run `{settings.words.up}`.")


def _launch(
    settings: Settings,
    env: Mapping[str, str],
    progress: Callable[[str], None],
    source: Source,
    patience: Patience,
) -> Running:
    from reapi_local_launcher.python import interpreter
    from reapi_local_launcher.server import start, stop

    place = start.Place.make(settings, env, source)
    chosen = interpreter.choose(settings, env, place.source_root, place.support_dir, progress)
    with stop.launch_lock(place.data_dir, settings, patience.lock_s):
        running = find_in(place.data_dir)
        if running is None:
            return start.start(place, chosen, patience.start_s, patience.other_s)
        if _may_stay(running, source):
            return with_notes(running, settings, source)
        progress(f"Replacing server {running.version} by {source.label}.")
        stop.stop_gracefully(running, settings)
        started = start.start(place, chosen, patience.start_s, patience.other_s)
        return replace(started, outcome="replaced")


def _start_by(
    deadline: float, settings: Settings, env: Mapping[str, str], source: Source
) -> Readiness:
    from reapi_local_launcher import locks
    from reapi_local_launcher.python import interpreter
    from reapi_local_launcher.server import start

    place = start.Place.make(settings, env, source)
    still_starting = NotReady(
        "The server is still starting.",
        f"The next command will find it; `{settings.words.up}` waits for it.",
    )
    try:
        chosen = interpreter.choose(
            *(settings, env, place.source_root, place.support_dir, None),
            timeout_s=deadline - time.monotonic(),
        )
        with locks.locked(place.launch_lock, deadline - time.monotonic()):
            running = find_in(place.data_dir, max(0.05, deadline - time.monotonic()))
            if running is not None:
                return with_notes(running, settings, source)
            started = start.start_once(place, chosen, deadline - time.monotonic())
            return started or still_starting
    except interpreter.NeedsEnvironmentError:
        return NotReady(
            "The server has no Python environment yet, or there was no time to check it.",
            f"Run `{settings.words.up}` once; it makes one.",
        )
    except locks.LockTimeoutError:
        return still_starting


def _may_stay(running: Running, source: Source) -> bool:
    return judge(running.version, source.label) is not Verdict.REPLACE


def with_notes(running: Running, settings: Settings, source: Source) -> Running:
    """`running` with a note for each way in which it is not what was asked for."""
    notes = []
    verdict = judge(running.version, source.label)
    restart = f"`{settings.words.down}`, then `{settings.words.up}`"
    if verdict is Verdict.NEWER:
        notes.append(
            f"The running server is {running.version}, newer than {source.label} here; it was kept."
        )
    elif verdict is Verdict.REPLACE:
        notes.append(
            f"The running server is {running.version}; `{settings.words.up}` replaces it by "
            f"{source.label}."
        )
    if settings.port not in (0, running.state.grpc_port):
        notes.append(
            f"The running server keeps port {running.state.grpc_port}; to change: {restart}."
        )
    if settings.max_size_bytes not in (None, running.state.max_size_bytes):
        limit = format_size(running.state.max_size_bytes)
        notes.append(f"The running server keeps its limit of {limit}; to change: {restart}.")
    return running.with_notes(notes)
