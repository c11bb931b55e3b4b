"""`reapi-local up`: a server runs afterwards."""

from __future__ import annotations

import argparse
import os
import sys
from shlex import quote

from reapi_contract import command_line
from reapi_contract.admin_api import ExecutionStatus
from reapi_contract.status import status_from
from reapi_local_launcher import paths
from reapi_local_launcher.cli import bazelrc, report
from reapi_local_launcher.cli.arguments import settings_from
from reapi_local_launcher.cli.secret_output import close_to_others
from reapi_local_launcher.cli.terminal import progress, style_of, write_json
from reapi_local_launcher.server.execution_status import user_notes
from reapi_local_launcher.server.launch import launch
from reapi_local_launcher.server.server_status import execution_in, fetch_status
from reapi_local_launcher.server_settings import ServerSettings


def run(options: argparse.Namespace) -> int:
    settings = settings_from(options)
    running = launch(settings, os.environ, progress)
    status = status_from(fetch_status(running, settings.labels))
    execution = execution_in(status)
    running = running.with_notes([*status.notes, *user_notes(execution, settings)])
    if options.show_token:
        close_to_others()
    write, with_token = sys.stdout.write, options.show_token
    if options.format == "json":
        instance = _instance(options) or bazelrc.instance_of(running.state)
        write_json(report.up_json(running, execution, instance, with_token=with_token), write)
    else:
        lines = _bazelrc_lines(options, settings, execution)
        style = style_of(sys.stdout)
        report.up_text(running, execution, lines, write, style, with_token=with_token)
    return 0


def _instance(options: argparse.Namespace) -> str | None:
    return options.instances[0] if options.instances else None


def _bazelrc_lines(
    options: argparse.Namespace, settings: ServerSettings, execution: ExecutionStatus
) -> list[str]:
    command, instance = settings.labels.bazelrc, _instance(options)
    if instance is not None:
        command += f" {quote(f'{command_line.INSTANCE_FLAG}={instance}')}"
    file = f"{paths.user_home(os.environ)}/{bazelrc.FILE}"
    return report.bazelrc_lines(command, file, execution)
