"""Starts one server process that outlives the process that starts it."""

from __future__ import annotations

import os
import selectors
import subprocess
import threading
from collections.abc import Mapping
from pathlib import Path

from reapi_contract import ready_line, sandbox_levels, setting_names
from reapi_contract.command_line import MODULE, SERVE
from reapi_contract.data_dir import LOG_FILE
from reapi_contract.ready_line import NotStarted, ReadyLine
from reapi_contract.setting_names import flag, repeated_flag
from reapi_local_launcher.patience import Patience, Waiting
from reapi_local_launcher.python.choose_interpreter import Interpreter
from reapi_local_launcher.python.prober import server_environment
from reapi_local_launcher.server_settings import ServerSettings

_MAX_LOG_BYTES = 5 * 1024 * 1024
_POLL_S = 0.5


def program(interpreter: Interpreter) -> list[str]:
    """How each command line of the server's program begins."""
    return [interpreter.path, "-P", "-m", MODULE]


def server_command(
    interpreter: Interpreter, settings: ServerSettings, data_dir: Path | None, label: str
) -> list[str]:
    """The server's command line. Without a data directory, other settings of the server name it."""
    command = [*program(interpreter), SERVE, ready_line.VERSION_FLAG, label]
    given = {
        setting_names.DATA_DIR: data_dir,
        setting_names.MAX_SIZE: settings.max_size_bytes,
        setting_names.PORT: settings.port,
        setting_names.IDLE_EXIT: settings.idle_exit_s,
        setting_names.SLOTS: settings.slots,
    }
    for name, value in given.items():
        if value:
            command += [flag(name), str(value)]
    for instance in settings.instances:
        command += [repeated_flag(setting_names.INSTANCES), instance]
    for path in settings.show:
        command += [repeated_flag(setting_names.SHOW), path]
    if settings.hermetic:
        command.append(flag(setting_names.HERMETIC))
    if settings.sandbox != sandbox_levels.AUTO:
        command += [flag(setting_names.SANDBOX), settings.sandbox]
    return command


class Spawned:
    """A server that is being started. `close` does not stop it.

    It has a session and a log of its own, so neither Ctrl-C nor the end of the process that started
    it ends the server. It writes its ready line to a pipe.
    """

    def __init__(
        self, command: list[str], env: Mapping[str, str], source_root: Path, data_dir: Path
    ) -> None:
        self.python = command[0]
        self._log = data_dir / LOG_FILE
        _rotate(self._log)
        self._received = b""
        self._pipe, child_end = os.pipe()
        try:
            with self._log.open("ab") as log:
                self._log_start = log.tell()
                self._process = subprocess.Popen(
                    [*command, ready_line.FLAG, str(child_end)],
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
        # Pants' daemon may outlive the server. Without this thread the server would be a zombie.
        threading.Thread(target=self._process.wait, name="reapi-local reaper", daemon=True).start()

    def close(self) -> None:
        """Stop waiting for the ready line; the server goes on."""
        os.close(self._pipe)

    @property
    def pid(self) -> int:
        return self._process.pid

    def ready_line(self, patience: Patience, waiting: Waiting) -> ReadyLine | None:
        """What the server says about its start; None if it has had its time and said nothing.

        A server that ended without a ready line counts as not started.
        """
        with selectors.DefaultSelector() as selector:
            selector.register(self._pipe, selectors.EVENT_READ)
            while b"\n" not in self._received:
                left_s = patience.left_s(self.pid)
                if not selector.select(min(left_s, _POLL_S)):
                    if left_s == 0:
                        return None
                    waiting.tell()
                    continue
                chunk = os.read(self._pipe, 65536)
                if not chunk:
                    break
                self._received += chunk
        silent = NotStarted(ready_line.FAILED, "It ended before it was ready")
        return ready_line.decode(self._received) or silent

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
            log.replace(log.with_name(f"{LOG_FILE}.1"))
    except FileNotFoundError:
        pass
