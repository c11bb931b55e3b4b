"""`reapi-local explain`: why the processes of a run were no hits."""

from __future__ import annotations

import argparse
import os
import sys

from reapi_contract.explanations import explanation_from
from reapi_contract.printable import printable_json
from reapi_local_launcher.cli.arguments import settings_from
from reapi_local_launcher.cli.explanation_report import explanation_text
from reapi_local_launcher.cli.terminal import style_of, write_json
from reapi_local_launcher.server.explanations import fetch_explanation
from reapi_local_launcher.server.presence import explain, look
from reapi_local_launcher.server.running import Running


def run(options: argparse.Namespace) -> int:
    settings = settings_from(options)
    found = look(settings, os.environ)
    if not isinstance(found, Running):
        raise explain(found, settings.labels)
    answer = fetch_explanation(
        found,
        settings.labels,
        run=options.run,
        instance=options.instance,
        process=options.process,
    )
    if options.format == "json":
        write_json(answer, sys.stdout.write)
        return 0
    explanation_text(
        explanation_from(printable_json(answer)),
        sys.stdout.write,
        style_of(sys.stdout),
        details=options.details or bool(options.process),
    )
    return 0
