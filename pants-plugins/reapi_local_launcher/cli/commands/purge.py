"""`reapi-local purge`: the store is empty afterwards."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

from reapi_local_launcher import paths
from reapi_local_launcher.cli import report
from reapi_local_launcher.cli.arguments import settings_from
from reapi_local_launcher.cli.terminal import progress, write_json
from reapi_local_launcher.server.purge import has_store, purge


def run(options: argparse.Namespace) -> int:
    settings = settings_from(options)
    data_dir = paths.data_dir(settings, os.environ)
    was_there = has_store(data_dir)
    if was_there and not options.yes and not _confirmed(data_dir):
        why = "" if sys.stdin.isatty() else " because nobody could be asked: this is no terminal"
        sys.stderr.write(f"Nothing was deleted{why}.\n`reapi-local purge --yes` does not ask.\n")
        return 1
    purged = purge(settings, os.environ, progress)
    if options.format == "json":
        write_json(report.purged_json(purged), sys.stdout.write)
    elif was_there:
        report.purged_text(purged, sys.stdout.write)
    else:
        sys.stdout.write(f"There is no store in {data_dir}, so nothing was deleted.\n")
    return 0


def _confirmed(data_dir: Path) -> bool:
    if not sys.stdin.isatty():
        return False
    sys.stderr.write(f"Delete all blobs and action results in {data_dir}? [y/N] ")
    sys.stderr.flush()
    return sys.stdin.readline().strip().lower() in ("y", "yes")
