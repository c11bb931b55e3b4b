"""`reapi-local shell`: a shell in the sandbox of an action."""

from __future__ import annotations

import argparse
import sys

from reapi_contract import command_line
from reapi_local_launcher.cli.past_actions import objects_for, run_program
from reapi_local_launcher.launcher_error import LauncherError
from reapi_local_launcher.server.server_status import execution_of


def run(options: argparse.Namespace) -> int:
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        raise LauncherError(
            "There is no terminal for a shell.",
            "Standard input or output is a file or a pipe.",
            "Run it in a terminal; `reapi-local export` makes a script for other uses.",
        )
    objects = objects_for(options)
    action = objects.action(options.action)
    execution = execution_of(objects.running, objects.labels)
    flags = [f"{command_line.SANDBOX_FLAG}={execution.sandbox}"] if execution.offered else []
    flags += [command_line.HERMETIC_FLAG] if execution.hermetic else []
    flags += [f"{command_line.SHOW_FLAG}={path}" for path in execution.show]
    run_program(options, objects, action, command_line.SHELL, *flags)
