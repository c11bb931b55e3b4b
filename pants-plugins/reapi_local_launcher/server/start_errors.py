"""Why a start of the server failed, and what to do about it."""

from __future__ import annotations

from pathlib import Path

from reapi_contract import ready_line
from reapi_contract.data_dir import LOG_FILE
from reapi_contract.ready_line import NotStarted
from reapi_local_launcher.labels import Labels
from reapi_local_launcher.launcher_error import LauncherError
from reapi_local_launcher.server.presence import Condition, NotServing, explain
from reapi_local_launcher.server.spawn import Spawned

WHAT = "The server could not start."


def refused(line: NotStarted, labels: Labels, data_dir: Path) -> LauncherError | None:
    """The error for a server that said why it can't start; None if it found no cause itself."""
    remedies = {
        ready_line.SETTINGS: _sentence(line.remedy or "correct that setting"),
        ready_line.PORT_IN_USE: f"Choose another {labels.port}, or leave it out to get a free one.",
        ready_line.DATA_DIR_UNUSABLE: f"Choose another directory with {labels.data_dir}.",
        ready_line.DISK_FULL: f"Free some space on the disk of {data_dir}, or choose a directory "
        f"on another one with {labels.data_dir}.",
        ready_line.NO_SANDBOX: _sentence(line.remedy),
    }
    remedy = remedies.get(line.error)
    return LauncherError(WHAT, line.message, remedy) if remedy else None


def failed(why: str, spawned: Spawned, labels: Labels, data_dir: Path) -> LauncherError:
    """The error for a server that ended or was killed, with the end of its log."""
    tail = spawned.log_tail()
    return LauncherError(
        WHAT,
        f"{why.rstrip('.')}. It ran on {spawned.python}"
        + (f" and wrote:\n    {tail}" if tail else "."),
        f"Its whole log is {data_dir / LOG_FILE}. If its Python is the cause, name another one "
        f"with {labels.server_python}.",
    )


def no_time(labels: Labels, pid: int | None) -> LauncherError:
    """The error of a quick launch for a server that goes on starting."""
    process = "A process" if pid is None else f"Process {pid}"
    return LauncherError(
        "The server is still starting.",
        f"{process} was not ready in time.",
        f"The next command will find it; `{labels.up}` waits for it.",
    )


def without_progress(
    without: NotServing, labels: Labels, still_s: float, *, is_quick: bool
) -> LauncherError:
    """The error for a server of another command that was waited for in vain."""
    if without.condition is not Condition.STARTING:
        return explain(without, labels)
    if is_quick:
        return no_time(labels, without.pid)
    process = "A process" if without.pid is None else f"Process {without.pid}"
    return LauncherError(
        "A server that another command started does not get ready.",
        f"{process} uses {without.data_dir}, and made no progress for {still_s:g} s.",
        f"End it with `{labels.kill}`, which loses nothing that was stored, then run "
        f"`{labels.up}`.",
    )


def _sentence(text: str) -> str:
    return f"{text[:1].upper()}{text[1:].rstrip('.')}." if text else ""
