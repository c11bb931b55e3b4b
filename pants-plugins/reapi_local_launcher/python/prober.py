"""Asking interpreters whether they can run the server."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from reapi_contract.command_line import MIN_PYTHON, NEEDED_PYTHON, NEEDS
from reapi_local_launcher.patience import run_patiently
from reapi_local_launcher.python import environment
from reapi_local_launcher.server.timeouts import Deadline

_PROGRAM = f"""
import sys
name = sys.implementation.name
if name != "cpython" or sys.version_info < {MIN_PYTHON}:
    version = ".".join(map(str, sys.version_info[:3]))
    sys.exit(f"it is {{name}} {{version}}; the server needs {NEEDED_PYTHON}")
import {NEEDS}
"""
_MEMO = "interpreters.json"
_STILL_S = 60.0

OUT_OF_TIME = "there was no time left to ask it"
"""The refusal of an interpreter after the deadline."""


def server_environment(env: Mapping[str, str], source_root: Path) -> dict[str, str]:
    """The user's environment, with `source_root` as the only directory of Python packages."""
    changed = {name: value for name, value in env.items() if not name.startswith("PYTHON")}
    changed["PYTHONPATH"] = str(source_root)
    return changed


class Prober:
    """Asks interpreters whether they can import the server, and remembers each yes in a file.

    A yes is valid for the same executable (path, time, size) and the same requirements. The file
    only saves time: it may be lost, or impossible to write. Each question may take `_STILL_S`
    seconds without progress from the moment when it is asked; `deadline` limits all of them.
    """

    def __init__(
        self, env: Mapping[str, str], source_root: Path, support_dir: Path, deadline: Deadline
    ) -> None:
        self._env = server_environment(env, source_root)
        self._memo = support_dir / _MEMO
        self._requirements = environment.requirements_key()
        self._deadline = deadline

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
        left_s = self._deadline.left_s
        if left_s == 0:
            return OUT_OF_TIME
        try:
            command = [python, "-c", _PROGRAM]
            answer = run_patiently(command, self._env, _STILL_S, left_s, cwd="/")
        except OSError as error:
            return f"it does not run: {error.strerror or error}"
        if answer is None:
            return OUT_OF_TIME if self._deadline.left_s == 0 else "it did not answer, and hangs"
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
