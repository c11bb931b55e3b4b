"""`reapi-local export`: an action as a directory with a script that runs it."""

from __future__ import annotations

import argparse
import os
from pathlib import Path

from reapi_contract import command_line
from reapi_local_launcher.cli.past_actions import objects_for, run_program
from reapi_local_launcher.launcher_error import LauncherError


def run(options: argparse.Namespace) -> int:
    to = Path(options.to).expanduser().absolute()
    if os.path.lexists(to) and not (to.is_dir() and not any(to.iterdir())):
        raise LauncherError(
            "The action was not exported.",
            f"{to} is there already, and is no empty directory.",
            "Name another directory.",
        )
    objects = objects_for(options)
    action = objects.action(options.action)
    run_program(options, objects, action, command_line.EXPORT, f"{command_line.TO_FLAG}={to}")
