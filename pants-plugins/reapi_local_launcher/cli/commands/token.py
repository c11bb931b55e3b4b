"""`reapi-local token`: the token of the server of a data directory."""

from __future__ import annotations

import argparse
import os

from reapi_contract.state import read_state
from reapi_local_launcher import paths
from reapi_local_launcher.cli.arguments import settings_from
from reapi_local_launcher.cli.secret_output import write_secret
from reapi_local_launcher.launcher_error import LauncherError


def run(options: argparse.Namespace) -> int:
    if not hasattr(options, "output"):
        options.parser.commands["token"].refuse("A command is missing.")
    return _show(options)


def _show(options: argparse.Namespace) -> int:
    settings = settings_from(options)
    data_dir = paths.data_dir(settings, os.environ)
    state = read_state(data_dir)
    if state is None:
        raise LauncherError(
            "There is no token.",
            f"No server has run on {data_dir} yet.",
            f"Start one with `{settings.labels.up}`.",
        )
    write_secret(f"{state.token}\n", options.output)
    return 0
