"""`reapi-local status`: what the server is and did."""

from __future__ import annotations

import argparse
import os
import sys

from reapi_contract.status import status_from
from reapi_local_launcher.cli import status_report
from reapi_local_launcher.cli.arguments import settings_from
from reapi_local_launcher.cli.terminal import style_of, write_json
from reapi_local_launcher.server.presence import NotServing, look, not_serving_json
from reapi_local_launcher.server.server_status import fetch_status


def run(options: argparse.Namespace) -> int:
    settings = settings_from(options)
    found = look(settings, os.environ)
    if isinstance(found, NotServing):
        if options.format == "json":
            write_json(not_serving_json(found), sys.stdout.write)
        else:
            status_report.no_server_text(found, settings.labels, sys.stdout.write)
        return 0
    status = fetch_status(found, settings.labels)
    if options.format == "json":
        write_json({"running": True, **status}, sys.stdout.write)
    else:
        status_report.status_text(status_from(status), sys.stdout.write, style_of(sys.stdout))
    return 0
