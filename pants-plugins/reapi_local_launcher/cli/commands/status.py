"""`reapi-local status`: what the server is and did."""

from __future__ import annotations

import argparse
import os
import sys

from reapi_contract.printable import printable_json
from reapi_contract.status import status_from
from reapi_local_launcher import paths
from reapi_local_launcher.cli import status_report
from reapi_local_launcher.cli.arguments import settings_from
from reapi_local_launcher.cli.terminal import style_of, write_json
from reapi_local_launcher.disk.usage import measure
from reapi_local_launcher.server.presence import NotServing, look, not_serving_json
from reapi_local_launcher.server.server_status import fetch_status


def run(options: argparse.Namespace) -> int:
    settings = settings_from(options)
    found = look(settings, os.environ)
    usage = measure(paths.data_dir(settings, os.environ), paths.cache_home(os.environ))
    usage_json = {"disk_usage": {"total_bytes": usage.total_bytes, "parts": usage.parts}}
    if isinstance(found, NotServing):
        if options.format == "json":
            write_json({**not_serving_json(found), **usage_json}, sys.stdout.write)
        else:
            status_report.no_server_text(found, settings.labels, sys.stdout.write)
            status_report.usage_table(usage, sys.stdout.write, style_of(sys.stdout))
        return 0
    status = fetch_status(found, settings.labels)
    if options.format == "json":
        write_json({"running": True, **status, **usage_json}, sys.stdout.write)
    else:
        report, style = status_report.status_text, style_of(sys.stdout)
        report(status_from(printable_json(status)), usage, sys.stdout.write, style)
    return 0
