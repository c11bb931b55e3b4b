"""Other Pythons of this machine, for tests that the plugin and the launcher work on each."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

# The modules of the plugin that import Pants. All others do without, as the command needs them.
WITH_PANTS = {
    *("goals.py", "register.py", "remote_auth.py", "subsystem.py"),
    *("reporter.py", "live_inputs.py"),
}


def interpreter(version: str) -> str:
    """A CPython of this version, like 3.9 or 3.14t; skips the test if there is none."""
    if version == f"{sys.version_info.major}.{sys.version_info.minor}":
        return sys.executable
    home = os.environ.get("PYENV_ROOT") or Path("~/.pyenv").expanduser()
    number, free_threaded = version.rstrip("t"), version.endswith("t")
    pattern = f"versions/{number}.*[0-9]{'t' * free_threaded}/bin/python{version}"
    candidates = [*map(str, Path(home).glob(pattern)), shutil.which(f"python{version}")]
    for candidate in filter(None, candidates):
        # A shim of pyenv answers with an error if its version isn't selected.
        if subprocess.run([candidate, "-c", ""], capture_output=True, check=False).returncode == 0:
            return candidate
    pytest.skip(f"there is no CPython {version} on PATH or under pyenv")
