"""`reapi-local completion SHELL`: a script for the shell's start-up file."""

from __future__ import annotations

import argparse
import sys

from reapi_local_launcher.cli import completion


def run(options: argparse.Namespace) -> int:
    make = {"bash": completion.bash, "zsh": completion.zsh, "fish": completion.fish}[options.shell]
    sys.stdout.write(make(options.parser))
    return 0
