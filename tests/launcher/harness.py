"""An installed copy of the launcher with a server package beside it, and its command line."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

from reapi_local_launcher.server.process import is_server
from reapi_local_launcher.server.state import read_state
from reapi_local_launcher.settings import Settings
from reapi_local_launcher.source import PLUGIN, Source, find_source

# With REAPI_LOCAL_TEST_SERVER=real, what needs no trick of the stand-in runs on the real server.
REAL = os.environ.get("REAPI_LOCAL_TEST_SERVER") == "real"

_FAKE = Path(__file__).with_name("fake_server.py")


class Site:
    """`reapi_local_plugin` and `reapi_local` side by side, as in a wheel's site-packages.

    The user has a home of their own, and no environment but PATH and what the package index needs.
    """

    def __init__(self, root: Path, checkout: bool = False) -> None:
        self.root = root
        self.home = root / "home"
        self.data_dir = self.home / ".cache" / "reapi-local" / "data"
        self.plugin = root / ("pants-plugins" if checkout else "site") / PLUGIN.name
        self.package = (root / "src" if checkout else self.plugin.parent) / "reapi_local"
        self.home.mkdir(parents=True)
        shutil.copytree(PLUGIN, self.plugin, ignore=shutil.ignore_patterns("__pycache__"))
        if REAL:
            real = PLUGIN.parent.parent / "src" / "reapi_local"
            shutil.copytree(real, self.package, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            self.package.mkdir(parents=True)
            shutil.copy(_FAKE, self.package / "__main__.py")
            (self.package / "app.py").touch()
        self.set_version("0.2.0")
        keep = ("PATH", "PIP_", "SSL_CERT", "HTTP", "http", "REQUESTS_CA")
        self.env = {k: v for k, v in os.environ.items() if k.startswith(keep)}
        self.env["HOME"] = str(self.home)

    @property
    def source(self) -> Source:
        return find_source(self.plugin)

    @property
    def settings(self) -> Settings:
        return Settings(data_dir=str(self.data_dir))

    def set_version(self, version: str) -> None:
        (self.package / "__init__.py").write_text(f'__version__ = "{version}"\n')

    def state(self, data_dir: Path | None = None) -> dict[str, Any]:
        content = json.loads(((data_dir or self.data_dir) / "server.json").read_text())
        assert isinstance(content, dict)
        return content

    def start(self, *arguments: str, python: str = sys.executable) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [python, "-m", "reapi_local_launcher", *arguments],
            env={**self.env, "PYTHONPATH": str(self.plugin.parent)},
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
            out, err = process.communicate(timeout=200)
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
        for file in self.root.rglob("server.json"):
            state = read_state(file.parent)
            if state is not None and state.pid and is_server(state.pid, file.parent):
                os.kill(state.pid, signal.SIGKILL)
