"""`reapi-local unwire [DIR]`: Pants works without the server afterwards, whatever the checkout."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from reapi_local_launcher.cli.terminal import notes, style_of, write_json
from reapi_local_launcher.launcher_error import LauncherError
from reapi_local_plugin.pants_config.switches import ConfigChange, switch_off

_ROOT_FILES = ("pants.toml", "BUILDROOT", "BUILD_ROOT", ".pants.rc")
"""The files by which Pants finds the root of a repository, and the one to edit."""


def run(options: argparse.Namespace) -> int:
    change = switch_off(_root(Path(options.directory)))
    if options.format == "json":
        content = {"path": str(change.path), "removed": list(change.removed)}
        write_json({**content, "notes": list(change.notes)}, sys.stdout.write)
    else:
        _show(change)
    return 0


def _root(directory: Path) -> Path:
    """The root of the repository that a directory is in. Raises LauncherError if it is in none."""
    absolute = directory.absolute()
    for candidate in (absolute, *absolute.parents):
        if any((candidate / name).is_file() for name in _ROOT_FILES):
            return candidate
    raise LauncherError(
        f"{absolute} is not in a Pants repository.",
        f"Neither it nor a directory above it has {', '.join(_ROOT_FILES[:-1])} or .pants.rc.",
        "Run it in the repository, or name a directory of it: `reapi-local unwire DIR`.",
    )


def _show(change: ConfigChange) -> None:
    write, style = sys.stdout.write, style_of(sys.stdout)
    if not change.removed:
        write(f"{change.path} has no lines of reapi-local; nothing was changed.\n")
        return
    write(f"Taken out of {change.path}:\n")
    for line in change.removed:
        if not line.startswith("["):
            write(f"  {line}\n")
    notes(change.notes, write, style)
    write("Pants works without the server now. `pants reapi-up` puts the lines back.\n")
