"""`reapi-local version`: the version of the server that this command would start."""

from __future__ import annotations

import argparse
import sys

from reapi_local_launcher.source import find_source


def run(options: argparse.Namespace) -> int:
    label = find_source().label
    if getattr(options, "format", "text") == "json":
        from reapi_local_launcher.cli.terminal import write_json

        write_json({"version": label}, sys.stdout.write)
    else:
        sys.stdout.write(f"reapi-local {label}\n")
    return 0
