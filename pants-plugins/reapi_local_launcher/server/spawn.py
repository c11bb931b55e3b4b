"""Starting one server process, detached from whoever starts it."""

from __future__ import annotations

import json
import os
import selectors
import subprocess
import threading
import time
from collections.abc import Mapping
from pathlib import Path

from reapi_local_launcher.python.interpreter import Interpreter, server_environment
from reapi_local_launcher.settings import Settings

_MAX_LOG_BYTES = 5 * 1024 * 1024


def server_command(
    interpreter: Interpreter, settings: Settings, data_dir: Path | None, label: str
) -> list[str]:
    """The server's command line; without a data directory the server's own settings name one."""
    command = [interpreter.path, "-P", "-m", "reapi_local", "serve", "--version-label", label]
    if data_dir is not None:
        command += ["--data-dir", str(data_dir)]
    if settings.max_size_bytes is not None:
        command += ["--max-size", str(settings.max_size_bytes)]
    if settings.port:
        command += ["--port", str(settings.port)]
    for instance in settings.instances:
        command += ["--instance", instance]
    if settings.idle_exit_s:
        command += ["--idle-exit", str(settings.idle_exit_s)]
    if settings.slots:
        command += ["--slots", str(settings.slots)]
    if settings.hermetic:
        command += ["--hermetic"]
    if settings.sandbox != "auto":
        command += ["--sandbox", settings.sandbox]
    return command


class Spawned:
    """A server being started. Closing this leaves it running.

    It has its own session and its own log, so that neither Ctrl-C nor the end of the caller reaches
    it. It reports once, over a pipe.
    """

    def __init__(
        self, command: list[str], env: Mapping[str, str], source_root: Path, data_dir: Path
    ) -> None:
        self.python = command[0]
        self._log = data_dir / "server.log"
        _rotate(self._log)
        self._received = b""
        self._pipe, child_end = os.pipe()
        try:
            with self._log.open("ab") as log:
                self._log_start = log.tell()
                self._process = subprocess.Popen(
                    [*command, "--ready-fd", str(child_end)],
                    env=server_environment(env, source_root),
                    cwd=data_dir,
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    start_new_session=True,
                    pass_fds=(child_end,),
                )
        except BaseException:
            os.close(self._pipe)
            raise
        finally:
            os.close(child_end)
        # The caller may be a daemon that outlives the server: somebody has to reap it.
        threading.Thread(target=self._process.wait, name="reapi-local reaper", daemon=True).start()

    def close(self) -> None:
        """Stop listening to it; it goes on."""
        os.close(self._pipe)

    def report(self, timeout_s: float) -> Mapping[str, object] | None:
        """What the server says of its start: empty if it died first, None if nothing yet."""
        deadline = time.monotonic() + timeout_s
        with selectors.DefaultSelector() as selector:
            selector.register(self._pipe, selectors.EVENT_READ)
            while b"\n" not in self._received:
                if not selector.select(max(0.0, deadline - time.monotonic())):
                    return None
                chunk = os.read(self._pipe, 65536)
                if not chunk:
                    break
                self._received += chunk
        try:
            report = json.loads(self._received)
        except ValueError:
            return {}
        return report if isinstance(report, dict) else {}

    def kill(self) -> None:
        """End it at once."""
        self._process.kill()

    def log_tail(self, lines: int = 12) -> str:
        """The last lines that this start wrote to its log."""
        with self._log.open("rb") as log:
            log.seek(self._log_start)
            written = log.read().decode(errors="replace")
        return "\n    ".join(written.strip().splitlines()[-lines:])


def _rotate(log: Path) -> None:
    try:
        if log.stat().st_size > _MAX_LOG_BYTES:
            log.replace(log.with_name("server.log.1"))
    except FileNotFoundError:
        pass
