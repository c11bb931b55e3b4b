"""Server processes, started as the launcher does it but without the launcher."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from launcher.harness import Site
from patience import PATIENCE_S
from reapi_contract import ready_line, setting_names
from reapi_contract.command_line import MODULE, SERVE
from reapi_contract.ready_line import ReadyLine
from reapi_contract.setting_names import flag
from reapi_contract.state import State, read_state
from reapi_local_launcher.python.prober import server_environment
from reapi_local_launcher.server import admin_client as admin


class Server:
    """One process of a server, started as the launcher does it."""

    def __init__(self, site: Site, *flags: str, data_dir: Path | None = None) -> None:
        self.data_dir = data_dir or site.data_dir
        reader, writer = os.pipe()
        command = [sys.executable, "-P", "-m", MODULE, SERVE]
        command += [flag(setting_names.DATA_DIR), str(self.data_dir), ready_line.FLAG, str(writer)]
        self.process = subprocess.Popen(
            [*command, ready_line.VERSION_FLAG, "9.9", *flags],
            env=server_environment(site.env, site.path[0]),
            cwd=site.root,
            stdin=subprocess.DEVNULL,
            pass_fds=(writer,),
        )
        os.close(writer)
        with open(reader, "rb") as pipe:
            self.line: ReadyLine | None = ready_line.decode(pipe.readline())

    @property
    def state(self) -> State:
        state = read_state(self.data_dir)
        assert state is not None
        return state

    def call(self, method: str, path: str, **body: object) -> admin.Json:
        return admin.call(self.state, method, path, body, timeout_s=PATIENCE_S)


class Servers:
    """Servers of one kind; those that still run are killed at the end."""

    def __init__(self, site: Site) -> None:
        self.site = site
        self._started: list[Server] = []

    def start(self, *flags: str, data_dir: Path | None = None) -> Server:
        server = Server(self.site, *flags, data_dir=data_dir)
        self._started.append(server)
        return server

    def end(self) -> None:
        for server in self._started:
            server.process.kill()
            server.process.wait()
