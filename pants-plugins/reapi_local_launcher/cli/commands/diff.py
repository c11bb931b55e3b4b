"""`reapi-local diff`: what differs between two actions or two trees."""

from __future__ import annotations

import argparse
import difflib
import sys

from reapi_contract.inspection import FILE, Differences, Entry, differences_from
from reapi_contract.printable import printable
from reapi_local_launcher.cli import object_report
from reapi_local_launcher.cli.past_actions import objects_for
from reapi_local_launcher.cli.terminal import style_of, write_json
from reapi_local_launcher.launcher_error import LauncherError
from reapi_local_launcher.server.objects import Objects

_MAX_TEXT_BYTES = 4 * 1024 * 1024


def run(options: argparse.Namespace) -> int:
    objects = objects_for(options)
    raw = objects.differences(options.a, options.b, options.text or "")
    found = differences_from(raw)
    if options.text is not None:
        _write_text(objects, found, options.text.strip("/"))
    elif options.format == "json":
        write_json(raw, sys.stdout.write)
    else:
        object_report.differences_text(found, sys.stdout.write, style_of(sys.stdout))
    return 0


def _write_text(objects: Objects, found: Differences, path: str) -> None:
    """How the lines of one file differ; nothing if they don't. Raises LauncherError."""
    for change in found.files:
        if change.path == path:
            a, b = (_lines(objects, side, path) for side in (change.a, change.b))
            for line in difflib.unified_diff(a, b, f"a/{path}", f"b/{path}"):
                line = printable(line, "\n\t")
                sys.stdout.write(line if line.endswith("\n") else f"{line}\n\\ No newline at end\n")
            return
    objects.tree(found.a, path, None, 1)  # raises if there is no such file
    sys.stdout.write(f"{path} is equal in both.\n")


def _lines(objects: Objects, entry: Entry | None, path: str) -> list[str]:
    if entry is None:
        return []
    if entry.kind != FILE or entry.size_bytes > _MAX_TEXT_BYTES:
        is_what = f"a {entry.kind}" if entry.kind != FILE else "larger than 4 MiB"
        raise LauncherError(
            "The lines can't be compared.",
            f"{path} is {is_what}.",
            "Leave --text out: then it is told whether it differs.",
        )
    try:
        text = b"".join(objects.content(entry.digest)).decode()
    except UnicodeDecodeError:
        raise LauncherError(
            "The lines can't be compared.",
            f"{path} is no text.",
            f"`reapi-local show --content {entry.digest}` prints its bytes.",
        ) from None
    return text.splitlines(keepends=True)
