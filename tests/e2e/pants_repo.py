"""Real Pants on repositories made for a test, whose caches and server are that test's own."""

from __future__ import annotations

import os
import pty
import re
import shutil
import signal
import subprocess
import sys
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import pytest

from patience import PATIENCE_S
from reapi_contract.state import read_state
from reapi_local_launcher.server.admin_client import Json
from reapi_local_launcher.server.process import ExitWatch, is_server
from reapi_local_launcher.server.running import Running, find_running
from reapi_local_launcher.server_settings import ServerSettings

CHECKOUT = Path(__file__).resolve().parents[2]
# The folders of the plugin, the launcher and their contract.
PLUGINS = (str(CHECKOUT / "pants-plugins"), str(CHECKOUT / "src"))
PANTS_VERSION = str(
    re.findall(r'^pants_version = "(.+)"', (CHECKOUT / "pants.toml").read_text(), re.MULTILINE)[0]
)
PYTHON = "pants.backend.python"
SHELL = "pants.backend.shell"
PLUGIN = "reapi_local_plugin"
# Of these tests: with it a build waits for the server as long as a slow machine needs.
PATIENT = "patient"
BACKENDS = str(Path(__file__).with_name("backends"))
SWITCHES = "remote_cache_read = true\nremote_cache_write = true"
# Three processes that need nothing but a shell.
SHELL_TESTS = """
for n in range(3):
    experimental_test_shell_command(name=f"test{n}", command=f"echo {n}", tools=[])
"""
# Pants runs a process while it asks the cache: one that takes its time comes second to a hit.
SLOW_TEST = """
experimental_test_shell_command(
    name="slow", command="read -t 4 <> <(:); echo done", tools=[]
)
"""

_DAEMON_IS_LATE = re.compile(r"exceeded timeout of \d+ seconds while waiting for pantsd")
_COUNTER = re.compile(r"^  (\w+): (\d+)$", re.MULTILINE)


# How the project's own `pants` script begins what it says.
_SCRIPT = re.compile(r"^pants: (?!first run|\d/\d)", re.MULTILINE)


@dataclass(frozen=True)
class Done:
    """What a run of Pants came to."""

    status: int
    out: str
    err: str

    @property
    def counters(self) -> dict[str, int]:
        """What `--stats-log` printed."""
        return {name: int(count) for name, count in _COUNTER.findall(self.err)}

    @property
    def lookups(self) -> tuple[int, int]:
        """Hits and misses in the remote cache, as Pants counts them."""
        counters = self.counters
        return (
            counters.get("remote_cache_requests_cached", 0),
            counters.get("remote_cache_requests_uncached", 0),
        )

    @property
    def warnings(self) -> list[str]:
        """The warnings Pants logged, but for what `--stats-log` makes it advise."""
        logged = re.findall(r"\[WARN\] (.+)", self.err)
        return [line for line in logged if "hdrhistogram" not in line]

    def must_succeed(self) -> Done:
        assert self.status == 0, f"{self.out}\n{self.err}"
        return self


class Machine:
    """One user's machine: a cache directory, which holds the server's data too, and repositories.

    Nothing of the real one is used but interpreters, the package index and the Pants to test with.
    ``run_by``: a command that runs others, as another user say.
    """

    def __init__(self, root: Path, run_by: Sequence[str] = ()) -> None:
        self.root, self.run_by = root, run_by
        self.env = _environment() | {"XDG_CACHE_HOME": str(root / "cache")}
        self.data_dir = root / "cache" / "reapi-local" / "data"
        self._repositories: list[Repository] = []

    def repository(self, name: str, toml: str) -> Repository:
        """A new repository with this pants.toml."""
        root = self.root / name
        root.mkdir(parents=True)
        (root / "pants.toml").write_text(toml)
        return self.adopt(root)

    def adopt(self, root: Path) -> Repository:
        """A repository that is there already."""
        made = Repository(self, root)
        self._repositories.append(made)
        return made

    @property
    def server(self) -> Running:
        """The server, which must be running."""
        running = find_running(ServerSettings(), self.env, PATIENCE_S)
        assert running is not None, "no server is running"
        return running

    def find_server(self) -> Running | None:
        return find_running(ServerSettings(), self.env)

    def lookups(self, instance: str) -> tuple[int, int]:
        """Hits and misses of an instance's action cache since the server's start."""
        counts = self.server.call("GET", "/v1/status")["action_cache"]
        assert isinstance(counts, dict)
        count = counts.get(instance, {})
        return count.get("hits", 0), count.get("misses", 0)

    def newest_run(self, instance: str) -> Json:
        runs = self.server.call("GET", f"/v1/runs?limit=1&instance={instance}")["runs"]
        assert isinstance(runs, list)
        assert runs, "the server has heard of no run"
        return dict(runs[0])

    def writes(self, instance: str) -> int:
        """Results stored for an instance since the server's start."""
        counts = self.server.call("GET", "/v1/status")["action_cache"]
        assert isinstance(counts, dict)
        return int(counts.get(instance, {}).get("writes", 0))

    def kill_server(self) -> None:
        """End the server as a crash does, if it runs."""
        state = read_state(self.data_dir)
        if state is not None and state.pid and is_server(state.pid, self.data_dir):
            with closing(ExitWatch(state.pid)) as watch:
                os.kill(state.pid, signal.SIGKILL)
                assert watch.wait(PATIENCE_S)

    def close(self) -> None:
        for repository in self._repositories:
            repository.end_daemon()
        self.kill_server()


@contextmanager
def machine(root: Path, run_by: Sequence[str] = ()) -> Iterator[Machine]:
    """A machine whose daemons and server are gone afterwards."""
    made = Machine(root, run_by)
    try:
        yield made
    finally:
        made.close()


class Repository:
    """A repository on a machine, with a local cache of its own."""

    def __init__(self, machine: Machine, root: Path) -> None:
        self.root, self._run_by = root, machine.run_by
        self._env = machine.env | {"PANTS_LOCAL_STORE_DIR": f"{root}-local-store"}

    def write(self, files: Mapping[str, str]) -> None:
        """Files by their path in the repository; what is indented as a whole is not, written."""
        for name, content in files.items():
            path = self.root / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(textwrap.dedent(content))

    def start(self, *arguments: str, daemon: bool = True) -> subprocess.Popen[str]:
        """Start Pants, its output to pipes."""
        return subprocess.Popen(
            self._command(*arguments, daemon=daemon),
            cwd=self.root,
            env=self._env,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run_on_a_terminal(self, *arguments: str, daemon: bool = True) -> str:
        """Run Pants with a terminal of its own; all that it shows there."""
        ours, its = pty.openpty()
        shown = b""
        with subprocess.Popen(
            self._command(*arguments, daemon=daemon),
            cwd=self.root,
            env=self._env,
            stdin=its,
            stdout=its,
            stderr=its,
            start_new_session=True,
        ) as started:
            os.close(its)
            # Linux ends a terminal that nobody has open any more with an error.
            with suppress(OSError), open(ours, "rb", buffering=0) as screen:
                while some := screen.read(65536):
                    shown += some
            assert started.wait(PATIENCE_S) == 0, shown.decode()
        return shown.decode()

    def _command(self, *arguments: str, daemon: bool) -> list[str]:
        flags = ["--stats-log", "--pantsd" if daemon else "--no-pantsd"]
        pants = os.environ.get("REAPI_LOCAL_TEST_PANTS", CHECKOUT / "pants")
        return [*self._run_by, str(pants), *flags, *arguments]

    def run(self, *arguments: str, daemon: bool = True) -> Done:
        """Run Pants to its end.

        Pants gives its daemon 60 s to start. On a slow machine the next run finds it started.
        """
        while True:
            done = finish(self.start(*arguments, daemon=daemon))
            if not done.status or not _DAEMON_IS_LATE.search(done.err):
                return done

    def set_env(self, name: str, value: str) -> None:
        """Set a variable for later runs."""
        self._env[name] = value

    def forget_local_store(self) -> None:
        """Delete Pants' own cache, so that only the server's is left."""
        self.end_daemon()
        shutil.rmtree(self._env["PANTS_LOCAL_STORE_DIR"], ignore_errors=True)

    def end_daemon(self) -> None:
        for file in (
            *self.root.glob(".pids/*/pantsd/pid"),
            *self.root.glob(".pants.d/pids/*/pantsd/pid"),
        ):
            with suppress(OSError, ValueError):
                os.kill(int(file.read_text()), signal.SIGKILL)


def finish(started: subprocess.Popen[str]) -> Done:
    """Wait for a run of Pants to end.

    Where there is no Pants to run, the test is skipped, or fails if $CI is set.
    """
    with started:
        try:
            out, err = started.communicate(timeout=PATIENCE_S)
        except BaseException:
            started.kill()
            raise
    if started.returncode and _SCRIPT.search(err):
        (pytest.fail if os.environ.get("CI") else pytest.skip)(f"no Pants to test with: {err}")
    return Done(started.returncode, out, err)


def pants_toml(
    *backends: str,
    settings: str = "",
    reapi: str = f'server_python = "{sys.executable}"',
    more: str = "",
    pythonpath: Sequence[str] = PLUGINS,
) -> str:
    """The text of a pants.toml that loads these backends.

    `settings`, `reapi` and `more`: lines for [GLOBAL], for [reapi], and for the end.
    """
    has_plugin = PLUGIN in backends
    if has_plugin:
        backends, pythonpath = (*backends, PATIENT), (*pythonpath, BACKENDS)
    lines = [
        "[GLOBAL]",
        f'pants_version = "{PANTS_VERSION}"',
        f"pythonpath = {[*pythonpath]}",
        f"backend_packages = {[*backends]}",
        settings,
    ]
    if has_plugin:
        # Else a look-up fails after 1.5 s, which is little for a slow machine.
        lines += [f"remote_cache_rpc_timeout_millis = {PATIENCE_S}_000", "[reapi]", reapi]
    return "\n".join([*lines, more, ""])


def _environment() -> dict[str, str]:
    """The environment of a user who has set nothing for Pants, Python or us."""
    strange = ("PANTS_", "PEX_", "PYTEST_", "PYTHON", "REAPI_LOCAL_", "VIRTUAL_ENV", "NO_COLOR")
    needed = (
        "PANTS_CA_CERTS_PATH",
        "PANTS_PEX_CLI_",
        "PANTS_PYTHON_BOOTSTRAP_SEARCH_PATH",
        "PANTS_PYTHON_REPOS_",
    )
    kept = {
        name: value
        for name, value in os.environ.items()
        if name.startswith(needed) or not name.startswith(strange)
    }
    cache_home = os.environ.get("XDG_CACHE_HOME") or str(Path("~/.cache").expanduser())
    made = os.environ.get("REAPI_LOCAL_BOOTSTRAP_DIR", f"{cache_home}/reapi-local/bootstrap")
    return kept | {"REAPI_LOCAL_BOOTSTRAP_DIR": made, "NO_SCIE_WARNING": "1"}
