"""`reapi-local replay`: runs an action again and compares the results."""

from __future__ import annotations

import argparse

from reapi_contract import command_line
from reapi_local_launcher.cli.past_actions import objects_for, run_program
from reapi_local_launcher.server.execution_status import must_be_offered
from reapi_local_launcher.server.server_status import execution_of


def run(options: argparse.Namespace) -> int:
    objects = objects_for(options)
    action = objects.action(options.action)
    must_be_offered(execution_of(objects.running, objects.labels), objects.labels)
    flags = [command_line.JSON_FLAG] if options.format == "json" else []
    run_program(options, objects, action, command_line.REPLAY, *flags)
