"""`reapi-local help [COMMAND]`: the same text as `reapi-local COMMAND --help`."""

from __future__ import annotations

import argparse
import sys

from reapi_local_launcher.cli.arguments import MEANT


def run(options: argparse.Namespace) -> int:
    sys.stdout.write(options.parser.at(options.words, MEANT).format_help())
    return 0
