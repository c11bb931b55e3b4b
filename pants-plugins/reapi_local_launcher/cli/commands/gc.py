"""`reapi-local gc`: what nobody needs any more is gone afterwards."""

from __future__ import annotations

import argparse
import os
import sys

from reapi_contract.sizes import format_size
from reapi_local_launcher.cli.arguments import settings_from
from reapi_local_launcher.cli.terminal import Style, Write, notes, style_of, write_json
from reapi_local_launcher.disk.collect import Collected, collect
from reapi_local_launcher.disk.garbage import Garbage


def run(options: argparse.Namespace) -> int:
    done = collect(settings_from(options), os.environ, dry_run=options.dry_run)
    if options.format == "json":
        write_json(_json(done, dry_run=options.dry_run), sys.stdout.write)
    else:
        _text(done, sys.stdout.write, style_of(sys.stdout), dry_run=options.dry_run)
    return 1 if done.failed else 0


def _text(done: Collected, write: Write, style: Style, *, dry_run: bool) -> None:
    kinds = max((len(one.kind) for one in done.removed), default=0)
    for one in done.removed:
        write(f"  {format_size(one.disk_bytes):>10}  {one.kind:<{kinds}}  {one.path}\n")
    total = format_size(done.total_bytes)
    if not done.removed:
        write("There is nothing that nobody needs.\n")
    elif dry_run:
        write(f"`reapi-local gc` would free {total}.\n")
    else:
        write(f"{total} freed.\n")
    failures = [f"{one.path} could not be removed: {why}." for one, why in done.failed]
    notes([*done.notes, *failures], write, style)


def _json(done: Collected, *, dry_run: bool) -> dict[str, object]:
    return {
        "dry_run": dry_run,
        "removed": [_one_json(one) for one in done.removed],
        "failed": [{**_one_json(one), "why": why} for one, why in done.failed],
        "total_bytes": done.total_bytes,
        "notes": list(done.notes),
    }


def _one_json(one: Garbage) -> dict[str, object]:
    return {"kind": one.kind, "path": str(one.path), "disk_bytes": one.disk_bytes}
