"""`reapi-local tls init`: the server's program makes certificates, because it has the library."""

from __future__ import annotations

import argparse
import os

from reapi_contract import command_line
from reapi_local_launcher.cli.arguments import settings_from
from reapi_local_launcher.cli.terminal import progress
from reapi_local_launcher.python.choose_interpreter import prepare_interpreter
from reapi_local_launcher.server import spawn
from reapi_local_launcher.source import find_source


def run(options: argparse.Namespace) -> int:
    if not hasattr(options, "renew"):
        options.parser.commands[command_line.TLS].refuse("A command is missing.")
    chosen, environment = prepare_interpreter(
        settings_from(options), os.environ, find_source(), progress
    )
    command = [*spawn.program(chosen), command_line.TLS, command_line.TLS_INIT]
    command += [f"{command_line.HOST_FLAG}={host}" for host in options.host]
    command += [f"{command_line.CLIENT_FLAG}={client}" for client in options.client]
    command += [command_line.RENEW_FLAG] if options.renew else []
    command += ["--", options.directory] if options.directory is not None else []
    os.execve(command[0], command, environment)
