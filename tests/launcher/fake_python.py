"""A Python whose `venv` and `pip` are shell scripts; everything else is done by the real one."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

from launcher.harness import Site

_PYTHON = """#!/bin/sh
case "$*" in
*free_threaded*)
    echo '{answer}' ;;
"-m venv "*)
    for last; do :; done
    mkdir -p "$last/bin" && cp {self} "$last/bin/python" ;;
"-m pip "*)
    {pip} ;;
*)
    MADE_BY_LAUNCHER=1 exec {real} "$@" ;;
esac
"""


def fake_python(
    path: Path, pip: str = ":", version: tuple[int, ...] = (3, 13, 99), threaded: bool = False
) -> Path:
    """Write one. `pip`: the shell commands that take the place of pip."""
    path.parent.mkdir(parents=True, exist_ok=True)
    answer = {"name": "cpython", "version": version, "free_threaded": threaded, "base": str(path)}
    text = _PYTHON.format(answer=json.dumps(answer), self=path, pip=pip, real=sys.executable)
    path.write_text(text)
    path.chmod(0o755)
    return path


def needs_environment(site: Site, pip: str) -> Path:
    """Let the site's server run only in an environment, made by a Python whose pip is `pip`."""
    site.require("import os; assert os.environ['MADE_BY_LAUNCHER']")
    made = fake_python(site.root / "bin" / "python3.13", pip)
    site.env["PATH"] = f"{made.parent}{os.pathsep}{site.env['PATH']}"
    return made
