"""A stand-in for the server that keeps the contract with the launcher, and does nothing more.

It becomes `__main__.py` of a package named `reapi_local`. It has the flags, ready line, state file,
lock and admin interface of the real server, all by `reapi_contract`, and sockets that listen but
speak no gRPC. If the variable FAKE_SERVER_GATE names a FIFO, it opens that before it is ready. It
says that it runs processes, in any sandbox but bubblewrap. If REAPI_LOCAL_LEASE is set, it does not
start.
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
from collections.abc import Mapping
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from reapi_contract import (
    admin_api,
    challenge,
    proof,
    ready_line,
    sandbox_levels,
    setting_names,
)
from reapi_contract.admin_api import ExecutionStatus, Health, RunSummary, StoreStatus
from reapi_contract.bounds import MAX_PORT, MAX_SLOTS, parse_seconds, parse_whole
from reapi_contract.command_line import SERVE
from reapi_contract.data_dir import PLACES, SERVER_LOCK, STATE_FILE, STORE
from reapi_contract.json_records import to_json
from reapi_contract.proof import Proof, proofs_json
from reapi_contract.ready_line import NotStarted, Ready, ReadyLine
from reapi_contract.server_lock import write_holder
from reapi_contract.setting_names import flag, repeated_flag, variable
from reapi_contract.sizes import DEFAULT_STORE_SIZE, parse_store_size
from reapi_contract.state import State, new_token, read_state, state_text, token_to_keep
from reapi_contract.status import Status, status_json

_GIB = 1024**3


class _CannotStart(Exception):
    def __init__(self, error: str, message: str) -> None:
        super().__init__(message)
        self.line = NotStarted(error, message)


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("command", choices=[SERVE])
    parser.add_argument(flag(setting_names.DATA_DIR), type=Path, required=True)
    parser.add_argument(flag(setting_names.HOST), default="127.0.0.1")
    parser.add_argument(flag(setting_names.PORT), default="0")
    parser.add_argument(flag(setting_names.MAX_SIZE), default=DEFAULT_STORE_SIZE)
    parser.add_argument(repeated_flag(setting_names.INSTANCES), action="append", default=[])
    parser.add_argument(flag(setting_names.IDLE_EXIT), default="0")
    parser.add_argument(flag(setting_names.SLOTS), default="0")
    parser.add_argument(flag(setting_names.HERMETIC), action="store_true")
    parser.add_argument(flag(setting_names.SANDBOX), default=sandbox_levels.AUTO)
    parser.add_argument(repeated_flag(setting_names.SHOW), action="append", default=[])
    parser.add_argument(ready_line.VERSION_FLAG, default="0")
    parser.add_argument(ready_line.FLAG, type=int)
    options = parser.parse_args()
    try:
        _Server(options).run()
    except _CannotStart as error:
        _say(options.ready_fd, error.line)
        print(f"reapi-local: {error}", file=sys.stderr)
        return 3
    return 0


def _parse(options: argparse.Namespace) -> None:
    """Replace the texts of numbers by the numbers. Raises _CannotStart."""
    parsers = {
        setting_names.PORT: lambda text: parse_whole(text, MAX_PORT),
        setting_names.SLOTS: lambda text: parse_whole(text, MAX_SLOTS),
        setting_names.MAX_SIZE: parse_store_size,
        setting_names.IDLE_EXIT: parse_seconds,
    }
    for name, parse in parsers.items():
        try:
            setattr(options, name, parse(getattr(options, name)))
        except ValueError as error:
            raise _CannotStart(ready_line.SETTINGS, f"command line: {name}: {error}") from error
    if options.sandbox not in sandbox_levels.CHOICES:
        message = f"command line: sandbox: {options.sandbox!r} isn't one of the choices"
        raise _CannotStart(ready_line.SETTINGS, message)
    if variable("lease") in os.environ:
        message = "environment: REAPI_LOCAL_LEASE: 'x' isn't a number of seconds"
        raise _CannotStart(ready_line.SETTINGS, message)


def _say(ready_fd: int | None, line: ReadyLine) -> None:
    if ready_fd is None:
        return
    try:
        os.write(ready_fd, ready_line.encode(line).encode())
        os.close(ready_fd)
    except BrokenPipeError:
        pass  # the launcher was killed


class _Server:
    def __init__(self, options: argparse.Namespace) -> None:
        _parse(options)
        self.options = options
        self.data_dir: Path = options.data_dir
        self.stopped = threading.Event()

    def run(self) -> None:
        self._own_data_dir()
        last = read_state(self.data_dir)
        grpc = self._listen(last)
        admin = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self.state = State(
            pid=os.getpid(),
            boot_id=secrets.token_hex(8),
            started_at=time.time(),
            version=self.options.version_label,
            host=self.options.host,
            grpc_port=grpc.getsockname()[1],
            admin_port=admin.server_port,
            token=token_to_keep(last) or new_token(),
            data_dir=str(self.data_dir),
            max_size_bytes=self.options.max_size,
            idle_exit_s=self.options.idle_exit,
            instances=tuple(self.options.instance),
        )
        (self.data_dir / STORE).mkdir(exist_ok=True)
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: self.stopped.set())
        if "FAKE_SERVER_GATE" in os.environ:
            Path(os.environ["FAKE_SERVER_GATE"]).read_bytes()
        self._write_state()
        threading.Thread(target=admin.serve_forever, daemon=True).start()
        print(f"serving on {self.state.grpc_port}", file=sys.stderr, flush=True)
        line = Ready(os.getpid(), self.state.grpc_port, self.state.admin_port)
        _say(self.options.ready_fd, line)
        self.stopped.wait()
        admin.shutdown()
        self.state = replace(self.state, pid=None)
        self._write_state()

    def answer(self, method: str, path: str, body: Mapping[str, Any]) -> tuple[int, object]:
        path, _, query = path.partition("?")
        if (method, path) == ("GET", admin_api.HEALTH):
            return 200, to_json(self._health())
        if (method, path) == ("GET", challenge.PATH):
            health, state = self._health(), self.state
            subject = challenge.Subject(
                state.token, state.boot_id, state.grpc_port, state.admin_port
            )
            nonce = query.partition("=")[2]
            said = challenge.answer(subject, nonce, health.status, health.grpc_address)
            return 200, to_json(said)
        if (method, path) == ("GET", admin_api.STATUS):
            return 200, status_json(self._status())
        if (method, path) == ("GET", admin_api.RUNS):
            return 200, admin_api.runs_json([_RUN] if "instance=main" in query else [])
        if (method, path) == ("POST", admin_api.CHECK):
            instance = admin_api.instance_to_check(body)
            ok = instance != "forbidden"
            remedy = "" if ok else "Use an instance that this server has."
            tried = Proof(proof.INSTANCE, ok, 1.5, f"instance {instance!r}", remedy)
            return 200, proofs_json([tried])
        if (method, path) == ("POST", admin_api.ROTATE_TOKEN):
            self.state = replace(self.state, token=new_token())
            self._write_state()
            return 200, admin_api.rotated_json()
        if (method, path) == ("POST", admin_api.PLACES):
            places = admin_api.places_in(body)
            if places is None or "refused" in places[0]:
                return 400, admin_api.error_json(400, "it is a home")
            (self.data_dir / PLACES).write_text(json.dumps(places))
            return 200, admin_api.places_json()
        if (method, path) == ("POST", admin_api.STOP):
            threading.Timer(0.05, self.stopped.set).start()
            return 202, admin_api.stop_json()
        return 404, admin_api.error_json(404, f"There is no {path}.")

    def _health(self) -> Health:
        state = self.state
        return Health(
            status=admin_api.SERVING,
            pid=os.getpid(),
            boot_id=state.boot_id,
            version=state.version,
            started_at=state.started_at,
            grpc_address=f"grpc://127.0.0.1:{state.grpc_port}",
            data_dir=state.data_dir,
        )

    def _status(self) -> Status:
        return Status(
            health=self._health(),
            store=StoreStatus(self.state.max_size_bytes, 3 * _GIB, 100 * _GIB, 2),
            execution=self._execution(),
            instances=("main",),
            calls={"ActionCache/GetActionResult": admin_api.CallCount(1200, 0)},
            action_cache={"main": admin_api.CacheCount(900, 300, 300)},
            executions={"main": admin_api.ExecutionCount(1300, 20, 1)},
        )

    def _execution(self) -> ExecutionStatus:
        level = self.options.sandbox
        if level == sandbox_levels.BUBBLEWRAP:
            return ExecutionStatus(reasons=("There is no `bwrap`; `apt install bubblewrap`.",))
        weak = level == sandbox_levels.PROCESS_GROUP
        return ExecutionStatus(
            offered=True,
            sandbox=sandbox_levels.SLOTS if level == sandbox_levels.AUTO else level,
            slots=self.options.slots or 2,
            executing=int(weak),
            caches="" if weak else "/reapi/caches",
            hermetic=self.options.hermetic,
            show=tuple(self.options.show),
            notes=("Processes can read your files.",) if weak else (),
        )

    def _own_data_dir(self) -> None:
        try:
            self.data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
            lock = (self.data_dir / SERVER_LOCK).open("a")
        except OSError as error:
            raise _CannotStart(
                ready_line.DATA_DIR_UNUSABLE, f"It can't be used: {error}"
            ) from error
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise _CannotStart(ready_line.DATA_DIR_IN_USE, "It is in use.") from None
        write_holder(lock)
        self.lock = lock

    def _listen(self, last: State | None) -> socket.socket:
        wanted = self.options.port
        for port in [wanted] if wanted else [last.grpc_port if last else 0, 0]:
            listener = socket.socket()
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                listener.bind((self.options.host, port))
            except OSError:
                listener.close()
                continue
            listener.listen()
            return listener
        message = f"Port {wanted} is taken by another program."
        raise _CannotStart(ready_line.PORT_IN_USE, message)

    def _write_state(self) -> None:
        partial = self.data_dir / f"{STATE_FILE}.partial"
        partial.touch(mode=0o600)
        partial.write_text(state_text(self.state))
        partial.replace(self.data_dir / STATE_FILE)


_RUN = RunSummary("a-run", "pants 2.17.1", "main", 1.5, 2.5, hits=9, misses=3)


def _handler(server: _Server) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            self._respond("GET")

        def do_POST(self) -> None:
            self._respond("POST")

        def _respond(self, method: str) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            status: int
            answer: object
            is_known = self.headers.get("Authorization") == f"Bearer {server.state.token}"
            if not is_known and not self.path.startswith(challenge.PATH):
                status, answer = 401, admin_api.error_json(401, "Wrong token.")
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
