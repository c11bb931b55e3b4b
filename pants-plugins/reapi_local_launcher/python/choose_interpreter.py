"""Chooses the Python that runs the server: the configured one, or the first that can import it.

The candidates are the Python of this process, that of `reapi-local` on PATH, and the private
environments that exist. If none of them can, a private environment is made.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from reapi_contract.command_line import MIN_PYTHON
from reapi_local_launcher import paths
from reapi_local_launcher.disk_errors import disk_errors
from reapi_local_launcher.labels import Labels
from reapi_local_launcher.launcher_error import LauncherError
from reapi_local_launcher.python import environment
from reapi_local_launcher.python.prober import OUT_OF_TIME, Prober, server_environment
from reapi_local_launcher.server.timeouts import NEVER, Deadline
from reapi_local_launcher.server_settings import ServerSettings
from reapi_local_launcher.source import Source

_SHEBANG = re.compile(
    rb"#!(/[^\s]*python[^\s]*)\s*\n|#!/bin/sh\n'''exec' \"?(/[^\"\n]*?)\"? \"\$0\""
)


@dataclass(frozen=True)
class Interpreter:
    """A Python that can run the server, and why it was chosen."""

    path: str
    origin: str


def choose_interpreter(
    settings: ServerSettings,
    env: Mapping[str, str],
    source_root: Path,
    support_dir: Path,
    progress: Callable[[str], None] | None,
    deadline: Deadline = NEVER,
) -> Interpreter:
    """The interpreter for the server whose packages are in `source_root`.

    If no interpreter can run it, a private environment is made, and `progress` gets a line for each
    step. If `progress` is None, no environment is made. Raises LauncherError.
    """
    labels = settings.labels
    prober = Prober(env, source_root, support_dir, deadline)
    if settings.server_python:
        reason = prober.refusal(settings.server_python)
        if reason is None:
            return Interpreter(settings.server_python, "configured")
        raise LauncherError(
            f"The configured Python {settings.server_python} cannot run the server.",
            f"{reason}.",
            f"Install reapi-local[server] into it, or remove {labels.server_python}: then another "
            "Python is found, or a private environment is made.",
        )
    reason = None
    for path, origin in _present(env, support_dir):
        reason = prober.refusal(path)
        if reason is None:
            return Interpreter(path, origin)
    if progress is None:
        raise _none_without_making_one(reason, support_dir, labels)
    made = environment.build(settings, env, support_dir, progress)
    reason = prober.refusal(str(made))
    if reason is None:
        return Interpreter(str(made), "private environment")
    raise LauncherError(
        "The environment made for the server cannot run it.",
        f"{made}: {reason}.",
        f"Remove {made.parent.parent} and try again; if that does not help, please report it.",
    )


def _none_without_making_one(
    last_refusal: str | None, support_dir: Path, labels: Labels
) -> LauncherError:
    if last_refusal == OUT_OF_TIME:
        why = "There was no time to check the Python environment that it has."
        remedy = f"Start it with `{labels.up}`, which takes the time."
    elif environment.is_being_made(support_dir):
        why = "Another command is making its Python environment at the moment."
        remedy = f"The next command finds it when it is ready; `{labels.up}` waits for it."
    else:
        why = "It has no Python environment yet."
        remedy = f"Run `{labels.up}` once; it makes one."
    return LauncherError("The server could not be started.", why, remedy)


def prepare_interpreter(
    settings: ServerSettings,
    env: Mapping[str, str],
    source: Source,
    progress: Callable[[str], None],
) -> tuple[Interpreter, dict[str, str]]:
    """The interpreter for the server's packages, and the environment to run it in.

    Raises LauncherError.
    """
    with disk_errors("The server's packages could not be put in place.", settings.labels):
        support_dir = paths.make_support_dir(settings, env)
        root = source.prepare(support_dir)
        chosen = choose_interpreter(settings, env, root, support_dir, progress)
        return chosen, server_environment(env, root)


def _present(env: Mapping[str, str], support_dir: Path) -> Iterator[tuple[str, str]]:
    if sys.executable and sys.implementation.name == "cpython" and sys.version_info >= MIN_PYTHON:
        yield sys.executable, "running"
    for script in _scripts_on_path(env):
        python = _shebang(script)
        if python is not None:
            yield python, "that of reapi-local on PATH"
    for python_path in environment.existing(support_dir):
        yield str(python_path), "private environment"


def _scripts_on_path(env: Mapping[str, str]) -> Iterator[Path]:
    for directory in env.get("PATH", "").split(os.pathsep):
        script = Path(directory, "reapi-local")
        if script.is_absolute() and script.is_file():
            yield script


def _shebang(script: Path) -> str | None:
    try:
        with script.open("rb") as file:
            match = _SHEBANG.match(file.read(1024))
    except OSError:
        return None
    return os.fsdecode(match.group(1) or match.group(2)) if match else None
