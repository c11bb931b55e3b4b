"""`reapi-local show`: what a digest is, and what is in it."""

from __future__ import annotations

import argparse
import sys

from reapi_contract.inspection import Described, described_from
from reapi_local_launcher.cli import object_report
from reapi_local_launcher.cli.past_actions import objects_for
from reapi_local_launcher.cli.terminal import style_of, write_json
from reapi_local_launcher.launcher_error import LauncherError
from reapi_local_launcher.server.objects import Objects


def run(options: argparse.Namespace) -> int:
    objects = objects_for(options)
    raw = objects.describe(options.digest)
    shown = described_from(raw)
    if options.content or options.stdout or options.stderr:
        _write(objects, _blob(shown, options))
    elif options.format == "json":
        write_json(raw, sys.stdout.write)
    else:
        object_report.described_text(shown, sys.stdout.write, style_of(sys.stdout))
    return 0


def _blob(shown: Described, options: argparse.Namespace) -> str:
    """The digest of the blob to print; "" if the process wrote nothing."""
    if options.content:
        return shown.digest
    if shown.result is None:
        raise LauncherError(
            "There is no output to print.",
            f"No result is cached for {shown.digest}.",
            "`reapi-local replay` runs an action again.",
        )
    return shown.result.stdout if options.stdout else shown.result.stderr


def _write(objects: Objects, digest: str) -> None:
    for piece in objects.content(digest) if digest else ():
        sys.stdout.buffer.write(piece)
    sys.stdout.buffer.flush()
