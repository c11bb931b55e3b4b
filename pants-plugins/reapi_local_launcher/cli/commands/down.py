"""`reapi-local down`: no server runs afterwards."""

from __future__ import annotations

import argparse
import os
import sys

from reapi_local_launcher.cli import report
from reapi_local_launcher.cli.arguments import settings_from
from reapi_local_launcher.cli.terminal import write_json
from reapi_local_launcher.server.stop import stop


def run(options: argparse.Namespace) -> int:
    stopped = stop(settings_from(options), os.environ, kill=options.kill)
    if options.format == "json":
        write_json({"stopped": stopped}, sys.stdout.write)
    else:
        report.stopped_text(stopped, sys.stdout.write)
    return 0
