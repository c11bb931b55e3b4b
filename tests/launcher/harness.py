"""An installed copy of the launcher with a server's package beside it, and its command line."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

from patience import PATIENCE_S
from reapi_contract.command_line import NEEDS
from reapi_contract.data_dir import STATE_FILE
from reapi_contract.state import read_state
from reapi_local_launcher.cli.init import PACKAGES
from reapi_local_launcher.server.process import is_server
from reapi_local_launcher.server_settings import ServerSettings
from reapi_local_launcher.source import LAUNCHER, Source, find_source

# With REAPI_LOCAL_TEST_SERVER=real, tests that need no trick of the stand-in use the real server.
REAL = os.environ.get("REAPI_LOCAL_TEST_SERVER") == "real"

CHECKOUT = LAUNCHER.parent.parent
_FAKE = Path(__file__).with_name("fake_server.py")
_NO_BYTECODE = shutil.ignore_patterns("__pycache__")


class Site:
    """All packages side by side, as in a wheel's site-packages; or in two folders of a checkout.

    The user has a home of their own, and of the environment only PATH and what the package index
    needs.
    """

    def __init__(self, root: Path, checkout: bool = False, real: bool = REAL) -> None:
        self.root = root
        self.home = root / "home"
        self.data_dir = self.home / ".cache" / "reapi-local" / "data"
        plugins = root / ("pants-plugins" if checkout else "site")
        sources = root / "src" if checkout else plugins
        self.path = list(dict.fromkeys([plugins, sources]))
        self.launcher = plugins / LAUNCHER.name
        self.package = sources / "reapi_local"
        self.needs = sources.joinpath(*NEEDS.split(".")).with_suffix(".py")
        self.home.mkdir(parents=True)
        for package in PACKAGES:
            folder = sources if package.name == "reapi_contract" else plugins
            shutil.copytree(package, folder / package.name, ignore=_NO_BYTECODE)
        if real:
            shutil.copytree(CHECKOUT / "src" / "reapi_local", self.package, ignore=_NO_BYTECODE)
        else:
            self.needs.parent.mkdir(parents=True)
            shutil.copy(_FAKE, self.package / "__main__.py")
            (self.needs.parent / "__init__.py").touch()
            self.needs.touch()
        self.set_version("0.2.0")
        keep = ("PATH", "PIP_", "SSL_CERT", "HTTP", "http", "REQUESTS_CA")
        self.env = {k: v for k, v in os.environ.items() if k.startswith(keep)}
        self.env["HOME"] = str(self.home)

    @property
    def source(self) -> Source:
        return find_source(self.launcher)

    @property
    def settings(self) -> ServerSettings:
        return ServerSettings(data_dir=str(self.data_dir))

    @property
    def python_path(self) -> str:
        return os.pathsep.join(map(str, self.path))

    def set_version(self, version: str) -> None:
        (self.package / "__init__.py").write_text(f'__version__ = "{version}"\n')

    def require(self, statement: str) -> None:
        """Let the server run only on a Python where a statement succeeds."""
        self.needs.write_text(f"{self.needs.read_text()}\n{statement}\n")

    def state(self, data_dir: Path | None = None) -> dict[str, Any]:
        content = json.loads(((data_dir or self.data_dir) / STATE_FILE).read_text())
        assert isinstance(content, dict)
        return content

    def start(self, *arguments: str, python: str = sys.executable) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [python, "-m", "reapi_local_launcher", *arguments],
            env={**self.env, "PYTHONPATH": self.python_path},
            cwd=self.root,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(
        self, *arguments: str, python: str = sys.executable
    ) -> subprocess.CompletedProcess[str]:
        with self.start(*arguments, python=python) as process:
            out, err = process.communicate(timeout=PATIENCE_S)
        return subprocess.CompletedProcess(arguments, process.returncode, out, err)

    def json(self, *arguments: str, python: str = sys.executable) -> dict[str, Any]:
        """The JSON that a command prints; it must succeed."""
        done = self.run(*arguments, "--format=json", python=python)
        assert done.returncode == 0, done.stdout + done.stderr
        content = json.loads(done.stdout)
        assert isinstance(content, dict)
        return content

    def clean_up(self) -> None:
        """Kill the servers whose state files are below the root."""
        for file in self.root.rglob(STATE_FILE):
            state = read_state(file.parent)
            if state is not None and state.pid and is_server(state.pid, file.parent):
                os.kill(state.pid, signal.SIGKILL)


def with_tls(site: Site, **more: object) -> None:
    """Let the running stand-in be a server with TLS, as far as its state file tells."""
    state = {**site.state(), "ca_certs_path": "/tls/server.pem", **more}
    (site.data_dir / STATE_FILE).write_text(json.dumps(state))
