"""Servers in processes of their own, and what they cost."""

from __future__ import annotations

import json
import os
import selectors
import shlex
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.request import Request, urlopen

from run import CHECKOUT

_MAX_START_S = 30.0
_MAX_STOP_S = 20.0
_OUR_PACKAGE = {**os.environ, "PYTHONPATH": str(CHECKOUT / "src")}


@dataclass(frozen=True)
class Serving:
    """A server that answers; ``started_s`` is how long that took from its command line on."""

    name: str
    pid: int
    port: int
    started_s: float
    token: str = ""
    admin_port: int = 0
    log: Path = Path(os.devnull)

    @property
    def headers(self) -> list[tuple[str, str]]:
        return [("authorization", f"Bearer {self.token}")] if self.token else []

    @property
    def cpu_seconds(self) -> float:
        """What it has used since its start, in user and in kernel mode."""
        fields = Path(f"/proc/{self.pid}/stat").read_text(encoding="utf-8").rpartition(")")[2]
        user, system = fields.split()[11:13]
        return (int(user) + int(system)) / os.sysconf("SC_CLK_TCK")

    @property
    def private_bytes(self) -> int:
        """Memory that is its alone: no program text, no mapped files."""
        status = Path(f"/proc/{self.pid}/status").read_text(encoding="utf-8")
        return int(status.partition("RssAnon:")[2].split()[0]) * 1024

    def status(self) -> dict[str, dict[str, int]]:
        """What our server tells of itself."""
        request = Request(
            f"http://127.0.0.1:{self.admin_port}/v1/status", headers=dict(self.headers)
        )
        with urlopen(request, timeout=10) as answer:
            content: dict[str, dict[str, int]] = json.load(answer)
            return content


@contextmanager
def reapi_local(data_dir: Path, *flags: str, name: str = "reapi-local") -> Iterator[Serving]:
    """Our server, from this checkout, on the Python that runs the benchmark."""
    data_dir.mkdir(parents=True, exist_ok=True)
    log = data_dir / "bench.log"
    ready, child_end = os.pipe()
    command = [sys.executable, "-P", "-m", "reapi_local", "serve", f"--data-dir={data_dir}"]
    began = time.perf_counter()
    with log.open("ab") as stderr:
        process = subprocess.Popen(
            [*command, *flags, f"--ready-fd={child_end}"],
            env=_OUR_PACKAGE,
            stdin=subprocess.DEVNULL,
            stderr=stderr,
            pass_fds=(child_end,),
        )
    os.close(child_end)
    with _ending(process):
        report = json.loads(_line(ready) or '{"message": "it died"}')
        started = time.perf_counter() - began
        if not report.get("ready"):
            raise SystemExit(f"the server did not start: {report.get('message')}; see {log}")
        token = json.loads((data_dir / "server.json").read_text(encoding="utf-8"))["token"]
        ports = {"port": report["grpc_port"], "admin_port": report["admin_port"]}
        yield Serving(name, process.pid, started_s=started, token=token, log=log, **ports)


def found(data_dir: Path) -> Serving:
    """The server that somebody else started on this directory."""
    state = json.loads((data_dir / "server.json").read_text(encoding="utf-8"))
    names = ("pid", "token", "admin_port")
    return Serving(
        "reapi-local",
        port=state["grpc_port"],
        started_s=0.0,
        log=data_dir / "server.log",
        **{name: state[name] for name in names},
    )


@contextmanager
def peer(name: str, command: str, directory: Path) -> Iterator[Serving]:
    """Another server, by its command line with ``{port}`` and ``{dir}``."""
    directory.mkdir(parents=True, exist_ok=True)
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = int(free.getsockname()[1])
    words = [word.format(port=port, dir=directory) for word in shlex.split(command)]
    began = time.perf_counter()
    with (directory.parent / f"{name}.log").open("wb") as log:
        process = subprocess.Popen(
            words, env=_OUR_PACKAGE, stdin=subprocess.DEVNULL, stdout=log, stderr=log
        )
    with _ending(process):
        while not _answers(port):
            if process.poll() is not None or time.perf_counter() - began > _MAX_START_S:
                raise SystemExit(f"{name} did not start; see what `{shlex.join(words)}` says")
            time.sleep(0.01)
        yield Serving(name, process.pid, port, time.perf_counter() - began)


@contextmanager
def _ending(process: subprocess.Popen[bytes]) -> Iterator[None]:
    try:
        yield
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(_MAX_STOP_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _line(fd: int) -> str:
    with open(fd, encoding="utf-8") as pipe, selectors.DefaultSelector() as selector:
        selector.register(pipe, selectors.EVENT_READ)
        return pipe.readline() if selector.select(_MAX_START_S) else ""


def _answers(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return False
    return True
