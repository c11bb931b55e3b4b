"""Asking interpreters whether they can run the server."""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from reapi_contract.command_line import MIN_PYTHON, NEEDED_PYTHON, NEEDS
from reapi_local_launcher.python import environment

_PROGRAM = f"""
import sys
name = sys.implementation.name
if name != "cpython" or sys.version_info < {MIN_PYTHON}:
    version = ".".join(map(str, sys.version_info[:3]))
    sys.exit(f"it is {{name}} {{version}}; the server needs {NEEDED_PYTHON}")
import {NEEDS}
"""
_MEMO = "interpreters.json"


def server_environment(env: Mapping[str, str], source_root: Path) -> dict[str, str]:
    """The user's environment, with `source_root` as the only directory of Python packages."""
    changed = {name: value for name, value in env.items() if not name.startswith("PYTHON")}
    changed["PYTHONPATH"] = str(source_root)
    return changed


class Prober:
    """Asks interpreters whether they can import the server, and remembers each yes in a file.

    A yes is valid for the same executable (path, time, size) and the same requirements. The file
    only saves time: it may be lost, or impossible to write. `timeout_s` limits all questions of
    one prober together.
    """

    def __init__(
        self, env: Mapping[str, str], source_root: Path, support_dir: Path, timeout_s: float
    ) -> None:
        self._env = server_environment(env, source_root)
        self._memo = support_dir / _MEMO
        self._requirements = environment.requirements_key()
        self._deadline = time.monotonic() + timeout_s

    def refusal(self, python: str) -> str | None:
        """Why `python` cannot run the server, as a clause without a full stop; None if it can."""
        try:
            stat = Path(python).stat()
        except OSError as error:
            return f"{error.strerror or error}"
        identity = f"{stat.st_mtime_ns} {stat.st_size} {self._requirements}"
        memo = self._read_memo()
        if memo.get(python) == identity:
            return None
        reason = self._ask(python)
        if reason is None:
            self._write_memo({**memo, python: identity})
        return reason

    def _ask(self, python: str) -> str | None:
        timeout_s = self._deadline - time.monotonic()
        if timeout_s <= 0:
            return "it timed out before it could be asked"
        try:
            answer = subprocess.run(
                [python, "-c", _PROGRAM],
                env=self._env,
                cwd="/",
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                timeout=timeout_s,
                check=False,
            )
        except subprocess.TimeoutExpired:
            return "it did not answer in time"
        except OSError as error:
            return f"it does not run: {error.strerror or error}"
        if answer.returncode == 0:
            return None
        lines = answer.stderr.decode(errors="replace").strip().splitlines()
        return lines[-1] if lines else f"it ended with status {answer.returncode}"

    def _read_memo(self) -> dict[str, str]:
        try:
            content = json.loads(self._memo.read_bytes())
        except (OSError, ValueError):
            return {}
        return content if isinstance(content, dict) else {}

    def _write_memo(self, memo: dict[str, str]) -> None:
        try:
            fd, name = tempfile.mkstemp(prefix=".interpreters-", dir=self._memo.parent)
            with os.fdopen(fd, "w") as file:
                json.dump(memo, file, indent=2)
            Path(name).replace(self._memo)
        except OSError:
            pass


def forget(support_dir: Path) -> None:
    """Forget every yes, because an interpreter that gave one could not start the server."""
    with suppress(OSError):
        (support_dir / _MEMO).unlink()
