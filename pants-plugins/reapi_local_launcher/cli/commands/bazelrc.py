"""`reapi-local bazelrc`: the lines that make Bazel use the server."""

from __future__ import annotations

import argparse
import os

from reapi_local_launcher.cli import bazelrc
from reapi_local_launcher.cli.arguments import settings_from
from reapi_local_launcher.cli.secret_output import write_secret
from reapi_local_launcher.server.execution_status import must_be_offered
from reapi_local_launcher.server.presence import NotServing, explain, look
from reapi_local_launcher.server.server_status import execution_of


def run(options: argparse.Namespace) -> int:
    settings = settings_from(options)
    found = look(settings, os.environ)
    if isinstance(found, NotServing):
        raise explain(found, settings.labels)
    if options.execution:
        must_be_offered(execution_of(found, settings.labels), settings.labels)
    instance = options.instance or bazelrc.instance_of(found.state)
    write_secret(bazelrc.text(found, instance, execution=options.execution), options.output)
    return 0
