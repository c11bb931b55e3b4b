"""Waiting for a process for as long as it makes progress.

How long a start or a question takes depends on the machine: on a busy one it takes ten times as
long. So a limit here is for time without progress, and a process makes progress when it uses the
processor.
"""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

_PROGRESS_S = 0.05
_MOST = 10
_POLL_S = 0.5
_TELL_AFTER_S = 3.0


class Patience:
    """`still_s`: how long a process may use no processor. It may take ten times that in all.

    `most_s` limits the whole time too, if it is less.
    """

    def __init__(self, still_s: float, most_s: float | None = None) -> None:
        now = time.monotonic()
        self._still_s = still_s
        self._end = now + (_MOST * still_s if most_s is None else min(most_s, _MOST * still_s))
        self._seen: tuple[int | None, float | None] | None = None
        self._since = now

    def left_s(self, pid: int | None) -> float:
        """How many seconds to wait for the process from now on; 0 if it has had its time.

        None stands for a process whose id is unknown.
        """
        now = time.monotonic()
        used = None if pid is None else processor_seconds(pid)
        if self._seen is None or self._seen[0] != pid or _is_progress(self._seen[1], used):
            self._seen, self._since = (pid, used), now
        return max(0.0, min(self._since + self._still_s, self._end) - now)


class Waiting:
    """Says once what a command waits for, when it has waited a few seconds."""

    def __init__(self, say: Callable[[str], None], text: str) -> None:
        self._say, self._text = say, text
        self._since = time.monotonic()
        self._has_said = False

    def tell(self) -> None:
        """Call this again and again while you wait."""
        if not self._has_said and time.monotonic() - self._since >= _TELL_AFTER_S:
            self._has_said = True
            self._say(self._text)


def run_patiently(
    command: Sequence[str],
    env: Mapping[str, str],
    still_s: float,
    most_s: float | None = None,
    cwd: str | None = None,
) -> subprocess.CompletedProcess[bytes] | None:
    """Run a command to its end, with its output; None if it had its time, and was killed.

    Raises OSError if it can't be run.
    """
    with subprocess.Popen(
        command,
        env=env,
        cwd=cwd,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:
        patience = Patience(still_s, most_s)
        try:
            while True:
                left_s = patience.left_s(process.pid)
                try:
                    out, err = process.communicate(timeout=min(left_s, _POLL_S))
                except subprocess.TimeoutExpired:
                    if left_s > 0:
                        continue
                    process.kill()
                    return None
                return subprocess.CompletedProcess(command, process.returncode, out, err)
        except BaseException:
            process.kill()
            raise


def processor_seconds(pid: int) -> float | None:
    """How long a process has used the processor; None if it has ended or can't be asked."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    except (OSError, ValueError, IndexError):
        pass
    if Path("/proc/self").exists():
        return None
    asked = subprocess.run(
        ["ps", "-o", "time=", "-p", str(pid)], stdout=subprocess.PIPE, check=False
    )
    try:  # [hours:]minutes:seconds
        seconds = 0.0
        for part in asked.stdout.decode().strip().split(":"):
            seconds = 60 * seconds + float(part)
    except ValueError:
        return None
    return seconds


def _is_progress(before: float | None, now: float | None) -> bool:
    return before is not None and now is not None and now - before >= _PROGRESS_S
