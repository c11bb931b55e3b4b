"""`reapi-local token`: shows or replaces the token of the server of a data directory."""

from __future__ import annotations

import argparse
import os
import sys

from reapi_local_launcher import paths
from reapi_local_launcher.cli.arguments import settings_from
from reapi_local_launcher.cli.secret_output import write_secret
from reapi_local_launcher.cli.terminal import progress
from reapi_local_launcher.server.token_rotation import last_state, rotate


def run(options: argparse.Namespace) -> int:
    if not hasattr(options, "token_action"):
        options.parser.commands["token"].refuse("A command is missing.")
    return {"show": _show, "rotate": _rotate}[options.token_action](options)


def _show(options: argparse.Namespace) -> int:
    settings = settings_from(options)
    state = last_state(paths.data_dir(settings, os.environ), settings)
    write_secret(f"{state.token}\n", options.output)
    return 0


def _rotate(options: argparse.Namespace) -> int:
    settings = settings_from(options)
    takes = "has a new token" if rotate(settings, os.environ, progress) else "will have a new token"
    command = f"{settings.labels.bazelrc} --output FILE"
    sys.stdout.write(
        f"The server {takes}, and the old one is worth nothing.\n"
        "Pants gets it with its next command. Other clients need it anew: for Bazel,\n"
        f"run `{command}` again.\n"
    )
    return 0
