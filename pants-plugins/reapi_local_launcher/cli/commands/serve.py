"""`reapi-local serve`: this process becomes the server."""

from __future__ import annotations

import argparse
import os
from pathlib import Path

from reapi_contract import setting_names
from reapi_contract.setting_names import flag
from reapi_local_launcher import paths
from reapi_local_launcher.cli.arguments import settings_from
from reapi_local_launcher.cli.terminal import progress
from reapi_local_launcher.python.choose_interpreter import prepare_interpreter
from reapi_local_launcher.server import spawn
from reapi_local_launcher.source import find_source


def run(options: argparse.Namespace) -> int:
    settings, source, more = settings_from(options), find_source(), list(options.rest)
    data_dir: Path | None = paths.data_dir(settings, os.environ)
    if options.config is not None:
        more += [setting_names.CONFIG_FLAG, options.config]
        # The file may name the directory. A flag would replace it, so only the user may give one.
        data_dir = data_dir if settings.data_dir else None
    if options.host is not None:
        more += [flag(setting_names.HOST), options.host]
    chosen, environment = prepare_interpreter(settings, os.environ, source, progress)
    command = spawn.server_command(chosen, settings, data_dir, source.label) + more
    os.execve(command[0], command, environment)
