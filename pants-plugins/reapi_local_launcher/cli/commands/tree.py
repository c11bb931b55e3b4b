"""`reapi-local tree`: lists an input tree."""

from __future__ import annotations

import argparse
import sys

from reapi_contract.inspection import listing_from
from reapi_local_launcher.cli import object_report
from reapi_local_launcher.cli.past_actions import objects_for
from reapi_local_launcher.cli.terminal import write_json


def run(options: argparse.Namespace) -> int:
    raw = objects_for(options).tree(options.digest, options.path, options.depth, options.limit)
    if options.format == "json":
        write_json(raw, sys.stdout.write)
    else:
        object_report.listing_text(listing_from(raw), sys.stdout.write, digests=options.digests)
    return 0
