"""`reapi-local` alone: what runs, and the commands worth knowing now."""

from __future__ import annotations

import argparse
import os
import sys

from reapi_contract.data_dir import LOG_FILE
from reapi_contract.status import status_from
from reapi_local_launcher.cli import status_report
from reapi_local_launcher.cli.terminal import fields, style_of
from reapi_local_launcher.server.presence import Condition, NotServing, look
from reapi_local_launcher.server.server_status import fetch_status
from reapi_local_launcher.server_settings import ServerSettings

_WITHOUT_SERVER = (
    ("reapi-local up", "start a server, and see how to reach it"),
    ("reapi-local init", "put the plugin into a Pants repository"),
    ("reapi-local help", "list all commands"),
)
_AFTER_ONE = (("reapi-local logs", "see what the last one logged"),)
_WITH_SERVER = (
    ("reapi-local up", "see how to reach it from Bazel"),
    ("reapi-local init", "put the plugin into a Pants repository"),
    ("reapi-local check", "prove that it works"),
    ("reapi-local status", "see hits, calls and disk usage"),
    ("reapi-local gc", "free disk space that nobody needs"),
    ("reapi-local logs -f", "follow its log"),
    ("reapi-local down", "stop it; what is stored stays"),
    ("reapi-local help", "list all commands"),
)


def run(options: argparse.Namespace) -> int:
    settings = ServerSettings()
    write, style = sys.stdout.write, style_of(sys.stdout)
    found = look(settings, os.environ)
    if isinstance(found, NotServing):
        if found.condition is Condition.ABSENT:
            write(f"No server is running for {found.data_dir}\n\n")
        else:
            status_report.no_server_text(found, settings.labels, write)
            write("\n")
        has_log = os.path.exists(os.path.join(found.data_dir, LOG_FILE))
        fields((*_WITHOUT_SERVER[:-1], *_AFTER_ONE * has_log, _WITHOUT_SERVER[-1]), write)
    else:
        status = status_from(fetch_status(found, settings.labels))
        status_report.summary_text(status, write, style)
        write("\n")
        fields(_WITH_SERVER, write)
    return 0
