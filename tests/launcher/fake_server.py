"""A stand-in for the server that keeps the launcher's side of the bargain and nothing more.

It becomes `__main__.py` of a package called `reapi_local`: same flags, ready line, state file, lock
and admin interface as the real one, with sockets that listen but speak no gRPC. Where the variable
FAKE_SERVER_GATE names a FIFO, it opens it before it says that it is ready. It says that it runs
processes, in any sandbox but bubblewrap. With an REAPI_LOCAL_LEASE it does not start.
"""

from __future__ import annotations

import argparse
import fcntl
import json
import os
import secrets
import signal
import socket
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

_UNITS = {"KiB": 1024, "MiB": 1024**2, "GiB": 1024**3, "kB": 1000, "MB": 1000**2, "GB": 1000**3}


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("command", choices=["serve"])
    parser.add_argument("--data-dir", type=Path, required=True)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--max-size", type=_size, default=20 * 1024**3)
    parser.add_argument("--instance", action="append", default=[])
    parser.add_argument("--idle-exit", type=float, default=0)
    parser.add_argument("--slots", type=int, default=0)
    parser.add_argument("--hermetic", action="store_true")
    parser.add_argument("--sandbox", default="auto")
    parser.add_argument("--version-label", default="0")
    parser.add_argument("--ready-fd", type=int)
    return _Server(parser.parse_args()).run()


def _size(text: str) -> int:
    for unit, factor in _UNITS.items():
        if text.endswith(unit):
            return int(float(text[: -len(unit)]) * factor)
    return int(text)


class _Server:
    def __init__(self, options: argparse.Namespace) -> None:
        self.options = options
        self.data_dir: Path = options.data_dir
        self.stopped = threading.Event()
        self.state: dict[str, Any] = {}

    def run(self) -> int:
        self.data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        lock = os.open(self.data_dir / "server.lock", os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            self._say({"ready": False, "error": "data-dir-in-use", "message": "It is in use."})
            return 3
        if "REAPI_LOCAL_LEASE" in os.environ:
            message = "environment: REAPI_LOCAL_LEASE: 'x' isn't a number of seconds"
            self._say({"ready": False, "error": "settings", "message": message})
            print(f"reapi-local: {message}", file=sys.stderr)
            return 2
        last = self._last_state()
        grpc = self._listen(last)
        if grpc is None:
            port = self.options.port
            message = f"Port {port} is taken by another program."
            self._say({"ready": False, "error": "port-in-use", "message": message})
            return 1
        admin = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self.state = {
            "format": 1,
            "pid": os.getpid(),
            "boot_id": secrets.token_hex(8),
            "started_at": time.time(),
            "version": self.options.version_label,
            "host": self.options.host,
            "grpc_port": grpc.getsockname()[1],
            "admin_port": admin.server_port,
            "token": last.get("token") or secrets.token_urlsafe(32),
            "data_dir": str(self.data_dir),
            "max_size_bytes": self.options.max_size,
        }
        (self.data_dir / "store").mkdir(exist_ok=True)
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: self.stopped.set())
        if "FAKE_SERVER_GATE" in os.environ:
            Path(os.environ["FAKE_SERVER_GATE"]).read_bytes()
        self._write_state()
        threading.Thread(target=admin.serve_forever, daemon=True).start()
        print(f"serving on {self.state['grpc_port']}", file=sys.stderr, flush=True)
        self._say({"ready": True, "pid": os.getpid(), "grpc_port": self.state["grpc_port"]})
        self.stopped.wait()
        admin.shutdown()
        self.state["pid"] = None
        self._write_state()
        return 0

    def answer(self, method: str, path: str, body: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        health = {
            "api": 1,
            "status": "serving",
            "grpc_address": f"grpc://127.0.0.1:{self.state['grpc_port']}",
            **{key: self.state[key] for key in ("pid", "boot_id", "version", "started_at")},
            "data_dir": str(self.data_dir),
        }
        if (method, path) == ("GET", "/v1/health"):
            return 200, health
        if (method, path) == ("GET", "/v1/status"):
            return 200, {
                **health,
                "store": {
                    "max_bytes": self.state["max_size_bytes"],
                    "disk_bytes": 3 * 1024**3,
                    "free_disk_bytes": 100 * 1024**3,
                    "generations": 2,
                },
                "execution": self._execution(),
                "instances": ["main"],
                "calls": {"ActionCache/GetActionResult": {"count": 1200, "errors": 0}},
                "executions": {"main": {"executed": 1300, "cached": 20, "failed": 1}},
                "action_cache": {"main": {"hits": 900, "misses": 300, "writes": 300}},
            }
        if (method, path) == ("POST", "/v1/check"):
            ok = body["instance"] != "forbidden"
            proof = {
                "name": "instance",
                "ok": ok,
                "milliseconds": 1.5,
                "detail": f"instance {body['instance']!r}",
                "remedy": "" if ok else "Use an instance that this server has.",
            }
            return 200, {"proofs": [proof]}
        if (method, path) == ("POST", "/v1/stop"):
            threading.Timer(0.05, self.stopped.set).start()
            return 202, {"status": "stopping"}
        return 404, {"error": "not-found", "message": f"There is no {path}."}

    def _execution(self) -> dict[str, Any]:
        sandbox = {"auto": "slots"}.get(self.options.sandbox, self.options.sandbox)
        offered, weak = sandbox != "bubblewrap", sandbox == "process-group"
        return {
            "offered": offered,
            "sandbox": sandbox if offered else "",
            "slots": (self.options.slots or 2) if offered else 0,
            "executing": int(weak),
            "caches": "/reapi/caches" if offered and not weak else "",
            "hermetic": self.options.hermetic,
            "notes": ["Processes can read your files."] if weak else [],
            "reasons": [] if offered else ["There is no `bwrap`; `apt install bubblewrap`."],
        }

    def _listen(self, last: dict[str, Any]) -> socket.socket | None:
        wanted = self.options.port
        for port in [wanted] if wanted else [last.get("grpc_port", 0), 0]:
            listener = socket.socket()
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                listener.bind((self.options.host, port))
            except OSError:
                listener.close()
                continue
            listener.listen()
            return listener
        return None

    def _last_state(self) -> dict[str, Any]:
        try:
            content = json.loads((self.data_dir / "server.json").read_bytes())
        except (OSError, ValueError):
            return {}
        return content if isinstance(content, dict) and "token" in content else {}

    def _write_state(self) -> None:
        partial = self.data_dir / "server.json.partial"
        partial.touch(mode=0o600)
        partial.write_text(json.dumps(self.state))
        partial.replace(self.data_dir / "server.json")

    def _say(self, line: dict[str, Any]) -> None:
        if self.options.ready_fd is None:
            return
        try:
            os.write(self.options.ready_fd, json.dumps(line).encode() + b"\n")
            os.close(self.options.ready_fd)
        except BrokenPipeError:
            pass  # the launcher was killed


def _handler(server: _Server) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self._respond("GET")

        def do_POST(self) -> None:
            self._respond("POST")

        def _respond(self, method: str) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            if self.headers.get("Authorization") != f"Bearer {server.state['token']}":
                status, answer = 401, {"error": "unauthenticated", "message": "Wrong token."}
            else:
                status, answer = server.answer(method, self.path, json.loads(body or b"{}"))
            content = json.dumps(answer).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: object) -> None:
            pass

    return Handler


if __name__ == "__main__":
    sys.exit(main())
