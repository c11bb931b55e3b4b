"""`reapi-local runs`: the latest runs of build tools."""

from __future__ import annotations

import argparse
import os
import sys

from reapi_contract import admin_api
from reapi_contract.printable import printable_json
from reapi_local_launcher.cli.arguments import settings_from
from reapi_local_launcher.cli.history_report import runs_text
from reapi_local_launcher.cli.terminal import style_of, write_json
from reapi_local_launcher.server.history import fetch
from reapi_local_launcher.server.presence import NotServing, explain, look


def run(options: argparse.Namespace) -> int:
    settings = settings_from(options)
    found = look(settings, os.environ)
    if isinstance(found, NotServing):
        raise explain(found, settings.labels)
    query = {"limit": options.limit, "instance": options.instance}
    told = fetch(found, admin_api.RUNS, query, settings.labels)
    if options.format == "json":
        write_json(told, sys.stdout.write)
    else:
        runs_text(admin_api.runs_from(printable_json(told)), sys.stdout.write, style_of(sys.stdout))
    return 0
