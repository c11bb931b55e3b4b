"""`reapi-local status`: what the server is and did."""

from __future__ import annotations

import argparse
import os
import sys

from reapi_contract.status import status_from
from reapi_local_launcher import paths
from reapi_local_launcher.cli import status_report
from reapi_local_launcher.cli.arguments import settings_from
from reapi_local_launcher.cli.terminal import style_of, write_json
from reapi_local_launcher.server.running import find_running
from reapi_local_launcher.server.server_status import fetch_status


def run(options: argparse.Namespace) -> int:
    settings = settings_from(options)
    running = find_running(settings, os.environ)
    data_dir = str(paths.data_dir(settings, os.environ))
    status = None if running is None else fetch_status(running, settings.labels)
    if options.format == "json":
        content = {"running": False, "data_dir": data_dir} if status is None else status
        write_json({"running": True, **content}, sys.stdout.write)
    elif status is None:
        status_report.no_server_text(data_dir, settings.labels.up, sys.stdout.write)
    else:
        status_report.status_text(status_from(status), sys.stdout.write, style_of(sys.stdout))
    return 0
