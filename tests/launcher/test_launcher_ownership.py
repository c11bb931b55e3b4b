"""A state file that another user could have made leads no command to that user's server."""

from __future__ import annotations

import json
import os
import subprocess
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from execute.sandbox_programs import ORDINARY_USER, SYSTEM_PYTHON, directory_for
from launcher.harness import CHECKOUT, Site
from reapi_contract.admin_api import SERVING
from reapi_local_launcher.locks import locked

ANOTHER = ORDINARY_USER + 1
COMMANDS = ("status", "check", "up", "down", "purge", "gc")


class Attacker(ThreadingHTTPServer):
    """Answers as the admin interface of a server, and keeps the tokens that it gets."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Answers)
        self.tokens: list[str | None] = []
        threading.Thread(target=self.serve_forever, daemon=True).start()

    def prepare(self, data: Path) -> None:
        data.mkdir(parents=True, exist_ok=True)
        state = {
            "pid": os.getpid(),
            "boot_id": "boot",
            "started_at": 1,
            "version": "99.0",
            "host": "127.0.0.1",
            "grpc_port": 1,
            "admin_port": self.server_port,
            "token": "x" * 40,
            "data_dir": str(data),
            "max_size_bytes": 1,
        }
        (data / "server.json").write_text(json.dumps(state))
        (data / "server.json").chmod(0o644)


class _Answers(BaseHTTPRequestHandler):
    server: Attacker

    def do_GET(self) -> None:
        self.server.tokens.append(self.headers["Authorization"])
        health = {"status": SERVING, "pid": os.getpid(), "boot_id": "boot", "version": "99.0"}
        health |= {"started_at": 1, "grpc_address": "grpc://127.0.0.1:1", "data_dir": "/"}
        body = json.dumps(health).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *arguments: object) -> None:
        pass


@pytest.fixture
def attacker() -> Iterator[Attacker]:
    with Attacker() as made:
        yield made
        made.shutdown()


def open_to_everybody(data: Path) -> str:
    data.chmod(0o777)
    return f"chmod go-w {data}"


def of_another_user(data: Path) -> str:
    for path in (data / "server.json", data):
        os.chown(path, ANOTHER, ANOTHER)
    data.chmod(0o777)
    return f"chown -R {os.getuid()} {data}"


def a_link_to_the_state_file_of_another_user(data: Path) -> str:
    elsewhere = data.with_name("elsewhere")
    (data / "server.json").rename(elsewhere)
    os.chown(elsewhere, ANOTHER, ANOTHER)
    (data / "server.json").symlink_to(elsewhere)
    return f"rm {data / 'server.json'}"


@pytest.mark.parametrize(
    "share", [open_to_everybody, of_another_user, a_link_to_the_state_file_of_another_user]
)
def test_no_command_uses_what_others_could_have_prepared(
    site: Site, attacker: Attacker, share: Callable[[Path], str]
) -> None:
    if "another_user" in share.__name__ and os.getuid() != 0:
        pytest.skip("only root can give files away")
    attacker.prepare(site.data_dir)
    command = share(site.data_dir)
    for verb in COMMANDS:
        done = site.run(verb)
        told = " ".join((done.stdout + done.stderr).split())
        assert command in told, verb
        assert "--data-dir" in told, verb
        assert done.returncode != 0, verb
    assert attacker.tokens == []


def test_an_ordinary_user_does_not_use_the_directory_of_another(attacker: Attacker) -> None:
    if os.getuid() != 0:
        pytest.skip("only root can become two users")
    with directory_for("an ordinary user", "/opt", "/var/tmp") as theirs:
        data = theirs / "data"
        attacker.prepare(data)
        of_another_user(data)
        done = subprocess.run(
            [SYSTEM_PYTHON, "-B", "-m", "reapi_local_launcher", "status", f"--data-dir={data}"],
            env={"HOME": str(theirs), "PYTHONPATH": f"{CHECKOUT}/pants-plugins:{CHECKOUT}/src"},
            user=ORDINARY_USER,
            group=ORDINARY_USER,
            extra_groups=[],
            cwd="/",
            capture_output=True,
            text=True,
            check=False,
        )
    told = " ".join((done.stdout + done.stderr).split())
    assert f"{data} belongs to user {ANOTHER}" in told
    assert done.returncode != 0
    assert attacker.tokens == []


def test_code_for_the_server_is_not_put_where_others_may_write(site: Site) -> None:
    shared = site.root / "shared"
    (shared / "reapi-local").mkdir(parents=True)
    (shared / "reapi-local").chmod(0o777)
    data = site.root / "own"
    site.env |= {"XDG_CACHE_HOME": str(shared), "REAPI_LOCAL_DATA_DIR": str(data)}
    site.json("up")
    assert list((shared / "reapi-local").iterdir()) == []


def test_a_link_is_no_lock(tmp_path: Path) -> None:
    (tmp_path / "lock").symlink_to("elsewhere")
    with pytest.raises(OSError, match="symbolic"), locked(tmp_path / "lock", 0):
        pass
    assert not (tmp_path / "elsewhere").exists()
