"""The server as a process of its own, started as a launcher starts it."""

from __future__ import annotations

import http.client
import json
import os
import signal
import socket
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any, Self

from patience import PATIENCE_S

SOURCE = Path(__file__).parents[2] / "src"


class Process:
    """`python -m reapi_local serve` with a ready pipe; ends, at the latest, with its block."""

    def __init__(
        self,
        *arguments: str,
        env: dict[str, str] | None = None,
        cwd: Path | None = None,
        ready_fd: bool = True,
    ) -> None:
        reading, writing = os.pipe()
        command = [sys.executable, "-m", "reapi_local", "serve", *arguments]
        if ready_fd:
            command += ["--ready-fd", str(writing)]
        kept = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
        self.popen = subprocess.Popen(
            command,
            env={**kept, "PYTHONPATH": str(SOURCE), **(env or {})},
            cwd=cwd,
            pass_fds=[writing],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        os.close(writing)
        self._ready = open(reading, encoding="utf-8")  # noqa: SIM115 - closed by __exit__

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self._ready.close()
        if self.popen.poll() is None:
            self.popen.kill()
        self.popen.communicate()

    def ready(self) -> dict[str, Any]:
        """What it writes to the ready pipe until it closes it: one line of JSON."""
        [line] = self._ready.read().splitlines()
        content = json.loads(line)
        assert isinstance(content, dict)
        return content

    def go_away(self) -> None:
        """As a launcher that was killed."""
        self._ready.close()

    def logged(self, words: str) -> str:
        """Wait for the line of the log that has these words."""
        assert self.popen.stderr is not None
        return next(line for line in self.popen.stderr if words in line)

    def serving(self) -> dict[str, Any]:
        """The ready line of a server that serves."""
        ready = self.ready()
        assert ready["ready"] is True, ready
        return ready

    def end(self, number: int | None = None) -> tuple[int, str]:
        """Its exit status, after a signal if one is given, and its standard error."""
        if number is not None:
            self.popen.send_signal(number)
        _, errors = self.popen.communicate(timeout=PATIENCE_S)
        return self.popen.returncode, errors


def quiet_port() -> int:
    """A free port that nobody is given by chance: below the range of ephemeral ports."""
    for port in range(20_000 + os.getpid() % 10_000, 32_000):
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port
    raise AssertionError("no free port")


def stop(process: Process) -> None:
    status, errors = process.end(signal.SIGTERM)
    assert status == 0, errors


def state_of(data_dir: Path) -> dict[str, Any]:
    content = json.loads((data_dir / "server.json").read_text(encoding="utf-8"))
    assert isinstance(content, dict)
    return content


def admin(data_dir: Path, method: str, path: str) -> tuple[int, Any]:
    state = state_of(data_dir)
    connection = http.client.HTTPConnection("127.0.0.1", state["admin_port"], timeout=PATIENCE_S)
    try:
        connection.request(method, path, headers={"Authorization": f"Bearer {state['token']}"})
        response = connection.getresponse()
        return response.status, json.loads(response.read())
    finally:
        connection.close()


def listener(port: int = 0) -> socket.socket:
    """Another program that listens on a port of its own."""
    other = socket.create_server(("127.0.0.1", port))
    other.listen()
    return other
