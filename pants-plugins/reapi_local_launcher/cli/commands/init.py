"""`reapi-local init`: a Pants repository has the plugin afterwards."""

from __future__ import annotations

import argparse
import sys
from dataclasses import asdict
from pathlib import Path

from reapi_local_launcher.cli import report
from reapi_local_launcher.cli.init import init
from reapi_local_launcher.cli.terminal import style_of, write_json


def run(options: argparse.Namespace) -> int:
    done = init(Path(options.directory))
    if options.format == "json":
        write_json({**asdict(done), "root": str(done.root)}, sys.stdout.write)
    else:
        report.init_text(done, sys.stdout.write, style_of(sys.stdout))
    return 1 if done.refusal else 0
