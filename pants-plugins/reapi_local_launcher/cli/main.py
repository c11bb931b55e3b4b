"""The command `reapi-local`."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from importlib import import_module
from typing import Callable

from reapi_local_launcher.cli.arguments import MEANT, make_parser
from reapi_local_launcher.cli.terminal import escape_what_cannot_be_shown
from reapi_local_launcher.launcher_error import LauncherError

_ALONE = "overview"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command. Returns the exit status: 0 done, 1 failed, 130 interrupted.

    Raises:
        SystemExit: with status 2, because the arguments were wrong.
    """
    escape_what_cannot_be_shown()
    options = _parse(sys.argv[1:] if arguments is None else arguments)
    try:
        status = _command(options.command or _ALONE)(options)
        sys.stdout.flush()
        return status
    except LauncherError as error:
        _show(error, options)
        return 1
    except KeyboardInterrupt:
        sys.stderr.write("interrupted\n")
        return 130
    except BrokenPipeError:
        # Without this the interpreter would write to the closed pipe again when it exits.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0


def _parse(arguments: Sequence[str]) -> argparse.Namespace:
    parser = make_parser()
    of_command = parser.at(arguments, MEANT)
    options, rest = parser.parse_known_args(arguments)
    if rest and options.command != "serve":
        of_command.refuse_unknown(rest)
    options.rest = rest
    options.parser = parser
    if options.version:
        options.command = "version"
    return options


def _command(name: str) -> Callable[[argparse.Namespace], int]:
    run: Callable[[argparse.Namespace], int]
    run = import_module(f"reapi_local_launcher.cli.commands.{name}").run
    return run


def _show(error: LauncherError, options: argparse.Namespace) -> None:
    from reapi_local_launcher.cli import report
    from reapi_local_launcher.cli.terminal import style_of, write_json

    if getattr(options, "format", "text") == "json":
        write_json(report.error_json(error), sys.stdout.write)
    else:
        report.error_text(error, sys.stderr.write, style_of(sys.stderr))
