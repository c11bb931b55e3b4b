"""What users are told about the processes that a server runs; checks that it runs them as asked."""

from __future__ import annotations

import os

from reapi_contract.admin_api import ExecutionStatus
from reapi_contract.sandbox_levels import AUTO, PROCESS_GROUP
from reapi_local_launcher.labels import Labels
from reapi_local_launcher.launcher_error import LauncherError
from reapi_local_launcher.server_settings import ServerSettings


def summary(execution: ExecutionStatus) -> str:
    """A one-line summary: "none", or like "slots sandbox, 4 at once, no network"."""
    if not execution.offered:
        return "none"
    level = execution.sandbox
    sandbox = "no sandbox" if level == PROCESS_GROUP else f"{level} sandbox"
    return f"{sandbox}, {execution.slots} at once" + (", no network" if execution.hermetic else "")


def must_be_offered(execution: ExecutionStatus, labels: Labels) -> None:
    """Raises LauncherError with the server's reasons if it runs no processes."""
    if execution.offered:
        return
    raise LauncherError(
        "The server doesn't run processes.",
        " ".join(execution.reasons) or "It gives no reason; its log may have one.",
        f"Remove the cause, then start the server again: {labels.restart}. "
        "It works as a cache meanwhile.",
    )


def must_be_as_asked(execution: ExecutionStatus, settings: ServerSettings) -> None:
    """Raises LauncherError if the server isolates processes in another way than asked."""
    differences = _differences(execution, settings)
    if not differences:
        return
    labels = settings.labels
    raise LauncherError(
        "The running server doesn't isolate processes as its settings now say.",
        f"It {' and '.join(differences)}: it was started with other settings.",
        f"Start it again: {labels.restart}.",
    )


def user_notes(execution: ExecutionStatus, settings: ServerSettings) -> tuple[str, ...]:
    """Sentences for the user of a server that runs processes.

    They are the server's own notes and reasons, and a sentence for each setting that the server
    does not have. A setting with its default value asks for nothing.
    """
    if not execution.offered:
        return ()
    differences = _differences(execution, settings)
    if settings.slots not in (0, execution.slots):
        differences.insert(0, f"runs {execution.slots} processes at once")
    change = f"to change: {settings.labels.restart}."
    unlike = (f"The running server {difference}; {change}" for difference in differences)
    return (*execution.notes, *execution.reasons, *unlike)


def _differences(execution: ExecutionStatus, settings: ServerSettings) -> list[str]:
    """What the server does instead of what was asked for, each as "gives …" or "uses …"."""
    found = []
    if settings.sandbox not in (AUTO, execution.sandbox):
        found.append(f"uses the sandbox {execution.sandbox}")
    if settings.hermetic and not execution.hermetic:
        found.append("gives processes the network")
    asked = ((path, os.path.normpath(os.path.expanduser(path))) for path in settings.show)
    lacking = [path for path, expanded in asked if expanded not in execution.show]
    if lacking and execution.sandbox != PROCESS_GROUP:
        found.append(f"doesn't show {', '.join(lacking)} to processes")
    return found
