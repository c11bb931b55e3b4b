"""An action as a directory: its input root, its environment, a script that runs it, a note."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from shlex import quote
from typing import Final

from reapi_local.execute.clients.pants import WRAPPER
from reapi_local.execute.job import Job
from reapi_local.execute.sandbox.action_paths import CACHES, HOME, INPUT_ROOT
from reapi_local.execute.sandbox.interface import ProcessSpec
from reapi_local.execute.sandbox.supervised.input_root_copy import copy_layers

_PLACES: Final = {INPUT_ROOT: "$root", HOME: "$home", CACHES: "$caches"}
_IN_TEXT: Final = re.compile("(" + "|".join(map(re.escape, _PLACES)) + r")(?![\w.-])")
_SCRIPT: Final = """\
#!/bin/sh
# Runs the action {action}
# that `reapi-local export` wrote here. README.txt says what it needs.
set -e
here=$(CDPATH= cd -- "$(dirname -- "$0")" && pwd)
root=$here/root home=$here/home caches=$here/caches
cd -- "$root"/{directory}
mkdir -p -- "$home" "$caches"{directories}
exec env -i \\
{lines}
"""
_NOTE: Final = """\
The action {action}

  root/   its input files
  run     runs it: in root/{directory}, with exactly the environment of the action

`./run` leaves its outputs in root/:
{outputs}

What this directory does not carry:

- The programs of the machine that are not among the input files. The script
  starts {program}, and its PATH is
  {path}
- The sandbox. The process sees all of your machine, with its network, and no
  limit of time or memory holds.{timeout}
- Files that the action expected outside of the input root. There it was
  {root}, and here it is root/. Arguments and variables follow
  that, and the contents of files do not.{caches}

Secrets are not masked: the script has all variables of the action. So nobody
else can read this directory.
"""
_CACHES_NOTE: Final = """
- The caches below {caches}, which some clients share between actions. In
  arguments and variables caches/ takes their place; it is empty at first.
  Input files are not changed: a script among them that names {caches},
  such as {wrapper}, means that path of your machine."""


def write_export(directory: Path, job: Job, spec: ProcessSpec) -> None:
    """Write the action into a directory, which is made with mode 0700. Blocks.

    ``spec``: the process of the action, bound to an input root at ``INPUT_ROOT``.

    Raises:
        OSError: it can't be written.
    """
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    directory.chmod(0o700)
    root = directory / "root"
    root.mkdir()
    copy_layers(spec.layers, str(root))
    script = directory / "run"
    script.write_text(_script(job, spec), encoding="utf-8", errors="surrogateescape")
    script.chmod(0o700)
    note = directory / "README.txt"
    note.write_text(_note(job, spec), encoding="utf-8", errors="surrogateescape")


def _script(job: Job, spec: ProcessSpec) -> str:
    variables = [f"{name}={_quoted(value)}" for name, value in sorted(spec.environment.items())]
    words = [*variables, *map(_quoted, spec.arguments)]
    return _SCRIPT.format(
        action=job.digest,
        directory=quote(spec.working_directory) if spec.working_directory else "",
        directories="".join(f' "$root"/{quote(path)}' for path in spec.directories),
        lines=" \\\n".join(f"  {word}" for word in words),
    )


def _quoted(text: str) -> str:
    """A word of a shell, in which the paths of the sandbox are replaced by those of here."""
    return "".join(_quoted_parts(_IN_TEXT.split(text))) or "''"


def _quoted_parts(parts: Sequence[str]) -> Iterator[str]:
    for part in parts:
        if part in _PLACES:
            yield f'"{_PLACES[part]}"'
        elif part:
            yield quote(part)


def _note(job: Job, spec: ProcessSpec) -> str:
    asked = job.action.timeout
    has_caches = any(CACHES in text for text in _texts(spec)) or job.profile.wrapper(job.command)
    return _NOTE.format(
        action=job.digest,
        directory=spec.working_directory,
        outputs=_listed(output.place or "." for output in job.command.outputs),
        program=spec.arguments[0],
        path=spec.environment.get("PATH", os.defpath),
        timeout=f" The action asked for {asked:g} s." if asked else "",
        root=INPUT_ROOT,
        caches=_CACHES_NOTE.format(caches=CACHES, wrapper=WRAPPER) if has_caches else "",
    )


def _texts(spec: ProcessSpec) -> Iterable[str]:
    return (*spec.arguments, *spec.environment.values())


def _listed(names: Iterable[str]) -> str:
    return "\n".join(f"  {name}" for name in names) or "  (it declares none)"
