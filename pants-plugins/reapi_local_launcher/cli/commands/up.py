"""`reapi-local up`: a server runs afterwards."""

from __future__ import annotations

import argparse
import os
import sys

from reapi_contract.status import status_from
from reapi_local_launcher.cli import report
from reapi_local_launcher.cli.arguments import settings_from
from reapi_local_launcher.cli.terminal import progress, style_of, write_json
from reapi_local_launcher.server.execution_status import user_notes
from reapi_local_launcher.server.launch import launch
from reapi_local_launcher.server.server_status import execution_in, fetch_status


def run(options: argparse.Namespace) -> int:
    settings = settings_from(options)
    running = launch(settings, os.environ, progress)
    status = status_from(fetch_status(running, settings.labels))
    execution = execution_in(status)
    running = running.with_notes([*status.notes, *user_notes(execution, settings)])
    instance = options.instances[0] if options.instances else "default"
    if options.format == "json":
        write_json(report.up_json(running, execution, instance), sys.stdout.write)
    else:
        report.up_text(running, execution, instance, sys.stdout.write, style_of(sys.stdout))
    return 0
