"""Questions about other processes. An old process id may belong to another program now."""

from __future__ import annotations

import os
import time
from contextlib import suppress
from pathlib import Path

from reapi_contract.command_line import MODULE, SERVE

_PROC = Path("/proc/self")


def exists(pid: int) -> bool:
    """Whether any process has this id now."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def command_line(pid: int) -> str:
    """The command line of a process, its words joined by spaces; "" if it cannot be read."""
    try:
        return (
            Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
        )
    except OSError:
        pass
    if _PROC.is_dir():
        return ""
    import subprocess

    listing = subprocess.run(
        ["ps", "-ww", "-o", "command=", "-p", str(pid)],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        check=False,
    )
    return listing.stdout.decode(errors="replace")


def is_server(pid: int, data_dir: Path) -> bool:
    """Whether the command line of a process is that of a server on this data directory."""
    line = f"{command_line(pid)} "
    return f"{MODULE} {SERVE}" in line and f"{data_dir} " in line


class ExitWatch:
    """Waits for the exit of a process that is not a child.

    Make it while the process is known to be the right one: it is then not mistaken for a later
    process with the same id. On Linux it waits for an event of the kernel, elsewhere it polls.
    """

    def __init__(self, pid: int) -> None:
        self._pid = pid
        self._fd: int | None = None

        if hasattr(os, "pidfd_open"):
            with suppress(OSError):  # the process has ended, or the kernel has no pidfd
                self._fd = os.pidfd_open(pid)

    def close(self) -> None:
        if self._fd is not None:
            os.close(self._fd)

    def wait(self, timeout_s: float) -> bool:
        """True as soon as the process has ended; False if it runs after `timeout_s` seconds."""
        if self._fd is not None:
            import selectors

            with selectors.DefaultSelector() as selector:
                selector.register(self._fd, selectors.EVENT_READ)
                return bool(selector.select(timeout_s))
        deadline = time.monotonic() + timeout_s
        # A zombie, as in a container without an init process, has no command line any more.
        while exists(self._pid) and not (_PROC.is_dir() and not command_line(self._pid)):
            if time.monotonic() > deadline:
                return False
            time.sleep(0.02)
        return True
