"""`reapi-local logs`: the end of the server's log."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

from reapi_contract.data_dir import LOG_FILE
from reapi_contract.printable import printable
from reapi_local_launcher import paths
from reapi_local_launcher.cli.arguments import settings_from
from reapi_local_launcher.cli.log_file import follow, last_lines
from reapi_local_launcher.launcher_error import LauncherError
from reapi_local_launcher.server_settings import ServerSettings


def run(options: argparse.Namespace) -> int:
    settings = settings_from(options)
    log = paths.data_dir(settings, os.environ) / LOG_FILE
    try:
        text, end = last_lines(log, options.lines)
        _write(text)
        if options.follow:
            follow(log, end, _write)
    except BrokenPipeError:
        raise  # it is about the output, not about the log
    except OSError as error:
        raise _no_log(log, error, settings) from error
    return 0


def _write(text: str) -> None:
    sys.stdout.write(printable(text, "\n\t"))
    sys.stdout.flush()


def _no_log(log: Path, error: OSError, settings: ServerSettings) -> LauncherError:
    if not isinstance(error, FileNotFoundError):
        why = f"{error.strerror or error}: {log}."
        return LauncherError("The log cannot be read.", why, "Make it readable for this user.")
    return LauncherError(
        "There is no log.",
        f"{log} does not exist: a server that runs in the background writes it, one in the "
        "foreground logs to where it was started.",
        f"Start a server with `{settings.labels.up}`.",
    )
