"""What the commands for past actions have in common: the server, and its own program."""

from __future__ import annotations

import argparse
import os
from typing import NoReturn

from reapi_contract import command_line
from reapi_contract.inspection import Described
from reapi_local_launcher.cli import bazelrc
from reapi_local_launcher.cli.arguments import settings_from
from reapi_local_launcher.cli.terminal import progress
from reapi_local_launcher.launcher_error import LauncherError
from reapi_local_launcher.python.choose_interpreter import prepare_interpreter
from reapi_local_launcher.server import spawn
from reapi_local_launcher.server.objects import Objects
from reapi_local_launcher.server.presence import NotServing, explain, look
from reapi_local_launcher.source import find_source


def objects_for(options: argparse.Namespace) -> Objects:
    """The objects of the server that the options name. Raises LauncherError if none serves."""
    settings = settings_from(options)
    found = look(settings, os.environ)
    if isinstance(found, NotServing):
        raise explain(found, settings.labels)
    return Objects(
        found,
        settings.labels,
        options.instance,
        getattr(options, "kind", None) or "",
        getattr(options, "secrets", False),
    )


def run_program(
    options: argparse.Namespace, objects: Objects, action: Described, command: str, *flags: str
) -> NoReturn:
    """Become the server's own program, which does the rest as a client. Raises LauncherError."""
    state = objects.running.state
    if state.needs_client_certificate:
        raise LauncherError(
            "The server wants a certificate of its clients.",
            "This command has none to show.",
            "Use it with a server that takes the token instead.",
        )
    instance = action.instance or options.instance
    if instance is None or not (action.instances or options.instance):
        instance = bazelrc.instance_of(state)
    chosen, environment = prepare_interpreter(
        settings_from(options), os.environ, find_source(), progress
    )
    arguments = [*spawn.program(chosen), command, action.digest]
    arguments += [f"{command_line.INSTANCE_FLAG}={instance}"]
    arguments += [f"{command_line.FUNCTION_FLAG}={action.function}"]
    arguments += [f"{command_line.ADDRESS_FLAG}={objects.running.grpc_address}"]
    arguments += [f"{command_line.DATA_DIR_FLAG}={state.data_dir}", *flags]
    os.execve(arguments[0], arguments, environment)
