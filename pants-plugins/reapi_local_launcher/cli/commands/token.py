"""`reapi-local token`: shows or replaces the token of the server of a data directory."""

from __future__ import annotations

import argparse
import os
import sys

from reapi_contract.state import token_to_keep
from reapi_local_launcher import paths
from reapi_local_launcher.cli.arguments import settings_from
from reapi_local_launcher.cli.secret_output import write_secret
from reapi_local_launcher.cli.terminal import progress
from reapi_local_launcher.launcher_error import LauncherError
from reapi_local_launcher.server.presence import Condition, condition_of
from reapi_local_launcher.server.token_rotation import last_state, rotate


def run(options: argparse.Namespace) -> int:
    if not hasattr(options, "token_action"):
        options.parser.commands["token"].refuse("A command is missing.")
    return {"show": _show, "rotate": _rotate}[options.token_action](options)


def _show(options: argparse.Namespace) -> int:
    settings = settings_from(options)
    data_dir = paths.data_dir(settings, os.environ)
    state = last_state(data_dir, settings)
    if token_to_keep(state) is None and condition_of(data_dir).condition is Condition.ABSENT:
        raise LauncherError(
            "The token is worth nothing any more.",
            f"The server of {data_dir} was killed, so the next one makes a new token.",
            f"Start it with `{settings.labels.up}`.",
        )
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
