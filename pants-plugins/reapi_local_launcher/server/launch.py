"""Makes sure that a server runs on a data directory."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

from reapi_contract.sizes import format_size
from reapi_local_launcher import paths
from reapi_local_launcher.disk_errors import disk_errors
from reapi_local_launcher.server.running import REPLACED, Running, find_in
from reapi_local_launcher.server.timeouts import THOROUGH, Deadline, Timeouts
from reapi_local_launcher.server_settings import ServerSettings
from reapi_local_launcher.source import Source, find_source
from reapi_local_launcher.version import Verdict, judge

Progress = Callable[[str], None]


def launch(
    settings: ServerSettings,
    env: Mapping[str, str],
    progress: Progress,
    source: Source | None = None,
    timeouts: Timeouts = THOROUGH,
) -> Running:
    """The server of the data directory. If none runs, it is started.

    A running server of an older release, or of another source of the same release, is stopped
    gracefully and replaced, but not by a quick launch; a newer one is kept. The result has a note
    for each way in which the server is not as asked. `progress` gets a line for each step that
    takes longer.

    Raises:
        LauncherError: there is no server, or a quick launch found none that was ready in time.
    """
    settings.check()
    deadline = Deadline(timeouts.total_s)
    with disk_errors("The server could not be started.", settings.labels):
        running = find_in(paths.data_dir(settings, env), deadline.limit(1.0))
        source = source or find_source()
        if running is not None and _may_stay(running, source, timeouts):
            return _with_notes(running, settings, source)
        return _start_or_replace(settings, env, progress, source, timeouts, deadline)


def _start_or_replace(
    settings: ServerSettings,
    env: Mapping[str, str],
    progress: Progress,
    source: Source,
    timeouts: Timeouts,
    deadline: Deadline,
) -> Running:
    # Imported late to save time: the hook before every command usually finds a running server.
    from reapi_local_launcher.python.choose_interpreter import choose_interpreter
    from reapi_local_launcher.server import start, stop

    context = start.StartContext.make(settings, env, source)
    chosen = choose_interpreter(
        *(settings, env, context.source_root, context.support_dir),
        progress=None if timeouts.is_quick else progress,
        deadline=deadline,
    )
    lock_s = deadline.limit(timeouts.lock_s)
    with stop.launch_lock(context.data_dir, settings, lock_s, progress):
        running = find_in(context.data_dir, deadline.limit(1.0))
        if running is None:
            is_outdated = _stop_outdated(context.data_dir, settings, progress, timeouts)
            started = start.Start(context, chosen, progress, timeouts, deadline).run()
            return replace(started, outcome=REPLACED) if is_outdated else started
        if _may_stay(running, source, timeouts):
            return _with_notes(running, settings, source)
        progress(f"Replacing server {running.version} by {source.label}.")
        stop.stop_gracefully(running, settings)
        started = start.Start(context, chosen, progress, timeouts, deadline).run()
        return replace(started, outcome=REPLACED)


def _stop_outdated(
    data_dir: Path, settings: ServerSettings, progress: Progress, timeouts: Timeouts
) -> bool:
    """Stop a server that is too old to prove what it is; whether there was one.

    Raises LauncherError if this launch is quick, or if the server doesn't stop.
    """
    from reapi_local_launcher.server import stop
    from reapi_local_launcher.server.presence import Condition, condition_of, explain

    without = condition_of(data_dir)
    if without.condition is not Condition.OUTDATED:
        return False
    if timeouts.is_quick:
        raise explain(without, settings.labels)
    progress(f"Replacing a server of an older release, process {without.pid}.")
    return stop.stop_locked(data_dir, settings)


def _may_stay(running: Running, source: Source, timeouts: Timeouts) -> bool:
    # Other commands may use the server at this moment, so a quick launch never replaces it.
    return timeouts.is_quick or judge(running.version, source.label) is not Verdict.REPLACE


def _with_notes(running: Running, settings: ServerSettings, source: Source) -> Running:
    """`running` with a note for each way in which it is not as asked."""
    notes = []
    labels, state = settings.labels, running.state
    verdict = judge(running.version, source.label)
    restart = labels.restart
    if verdict is Verdict.NEWER:
        notes.append(
            f"The running server is {running.version}, newer than {source.label} here; it was kept."
        )
    elif verdict is Verdict.REPLACE:
        notes.append(
            f"The running server is {running.version}; `{labels.up}` replaces it by {source.label}."
        )
    if settings.port not in (0, state.grpc_port):
        notes.append(f"The running server keeps port {state.grpc_port}; to change: {restart}.")
    if settings.max_size_bytes not in (None, state.max_size_bytes):
        limit = format_size(state.max_size_bytes)
        notes.append(f"The running server keeps its limit of {limit}; to change: {restart}.")
    if settings.idle_exit_s and state.idle_exit_s not in (None, settings.idle_exit_s):
        idle = f"stops after {state.idle_exit_s:g} s without a call" if state.idle_exit_s else ""
        notes.append(f"The running server {idle or 'never stops by itself'}; to change: {restart}.")
    if settings.instances and state.instances not in (None, settings.instances):
        named = f"only {', '.join(state.instances)}" if state.instances else "any instance"
        notes.append(f"The running server accepts {named}; to change: {restart}.")
    return running.with_notes(notes)
