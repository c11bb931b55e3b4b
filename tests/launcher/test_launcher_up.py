"""`reapi-local up` and `down`: one server per data directory, in whatever state they find it."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread

import pytest

from launcher.harness import REAL, Site
from launcher.server_process import Server
from patience import PATIENCE_S
from reapi_local_launcher.launcher_error import LauncherError
from reapi_local_launcher.server.launch import launch
from reapi_local_launcher.server.process import is_server
from reapi_local_launcher.server.timeouts import Timeouts

needs_fake = pytest.mark.skipif(REAL, reason="needs a trick of the stand-in server")


def test_ten_concurrent_ups_make_exactly_one_server(site: Site) -> None:
    processes = [site.start("up", "--format=json") for _ in range(10)]
    answers = [json.loads(process.communicate(timeout=PATIENCE_S)[0]) for process in processes]

    assert [process.returncode for process in processes] == [0] * 10
    assert len({(answer["pid"], answer["boot_id"]) for answer in answers}) == 1
    assert [answer["outcome"] for answer in answers].count("started") == 1


def test_a_second_up_finds_the_server_of_the_first(site: Site) -> None:
    first = site.json("up")
    second = site.json("up")

    assert (first["outcome"], second["outcome"]) == ("started", "found")
    assert second["boot_id"] == first["boot_id"]
    assert Path(first["data_dir"]) == site.data_dir
    assert site.data_dir.stat().st_mode & 0o777 == 0o700


def test_down_stops_the_server_and_a_second_down_finds_none(site: Site) -> None:
    pid = site.json("up")["pid"]

    assert is_server(pid, site.data_dir)
    assert site.json("down") == {"stopped": True}
    assert not is_server(pid, site.data_dir)
    assert site.json("down") == {"stopped": False}
    assert "No server was running" in site.run("down").stdout


def test_a_crashed_server_comes_back_with_its_port_and_another_token(site: Site) -> None:
    before = site.json("up", "--show-token")
    os.kill(before["pid"], signal.SIGKILL)

    after = site.json("up", "--show-token")

    assert after["outcome"] == "started"
    assert after["boot_id"] != before["boot_id"]
    assert after["grpc_port"] == before["grpc_port"]
    assert after["token"] != before["token"]


def test_the_limit_of_the_last_start_is_kept_unless_another_is_given(site: Site) -> None:
    assert site.json("up", "--max-size=3GiB")["max_size_bytes"] == 3 * 1024**3
    site.json("down")
    assert site.json("up")["max_size_bytes"] == 3 * 1024**3

    noted = site.json("up", "--max-size=4GiB")

    assert noted["max_size_bytes"] == 3 * 1024**3
    assert "keeps its limit of 3.0 GiB" in noted["notes"][0]


def test_a_recycled_process_id_is_neither_trusted_nor_signalled(site: Site) -> None:
    before = site.json("up")
    site.json("down")
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as other:
        _rewrite_state(site, pid=other.pid)

        assert site.json("down") == {"stopped": False}
        assert site.json("down", "--kill") == {"stopped": False}
        after = site.json("up")

        assert other.poll() is None
        assert after["pid"] != other.pid
        assert after["grpc_port"] == before["grpc_port"]
        other.communicate(b"\n")


def test_another_program_on_the_admin_port_is_not_taken_for_the_server(site: Site) -> None:
    site.json("up")
    site.json("down")
    with HTTPServer(("127.0.0.1", 0), _Stranger) as stranger:
        Thread(target=stranger.serve_forever, daemon=True).start()
        _rewrite_state(site, pid=os.getpid(), admin_port=stranger.server_port)

        assert site.json("up")["outcome"] == "started"
        stranger.shutdown()


@pytest.mark.parametrize("content", [b"", b"[]", b'{"pid": "x"}', b"\xff\xfe"])
def test_a_damaged_state_file_does_not_block_a_start(site: Site, content: bytes) -> None:
    site.data_dir.mkdir(parents=True)
    (site.data_dir / "server.json").write_bytes(content)

    assert site.json("up")["outcome"] == "started"


def test_a_port_that_is_taken_is_named_with_its_remedy(site: Site) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = site.run("up", f"--port={port}")

    assert done.returncode == 1
    assert str(port) in done.stderr
    assert "another --port" in done.stderr


def test_a_setting_that_cannot_be_used_is_told_once_with_its_variable(site: Site) -> None:
    site.env["REAPI_LOCAL_LEASE"] = "x"
    done = site.run("up", "--format=json")

    assert done.returncode == 1
    assert json.loads(done.stdout)["error"] == {
        "what": "The server could not start.",
        "why": "environment: REAPI_LOCAL_LEASE: 'x' isn't a number of seconds",
        "remedy": "Correct that setting.",
    }


def test_an_older_release_is_replaced_in_good_order(site: Site) -> None:
    site.set_version("0.1.9")
    old = site.json("up", "--max-size=3GiB", "--show-token")
    site.set_version("0.2.0")

    new = site.json("up", "--show-token")

    assert new["outcome"] == "replaced"
    assert new["version"] == "0.2.0"
    assert new["pid"] != old["pid"]
    assert [new[k] for k in ("grpc_port", "token", "max_size_bytes")] == [
        old[k] for k in ("grpc_port", "token", "max_size_bytes")
    ]
    assert not is_server(old["pid"], site.data_dir)


def test_the_server_that_replaced_another_is_not_called_replaced(site: Site) -> None:
    site.set_version("0.1.9")
    site.json("up")
    site.set_version("0.2.0")

    shown = site.run("up").stdout

    assert shown.startswith("reapi-local 0.2.0 replaced the server that ran, process ")


def test_a_newer_release_is_kept_with_a_note(site: Site) -> None:
    site.set_version("0.10.0")
    newer = site.json("up")
    site.set_version("0.9.0")

    kept = site.json("up")

    assert (kept["outcome"], kept["boot_id"]) == ("found", newer["boot_id"])
    assert kept["notes"] == ["The running server is 0.10.0, newer than 0.9.0 here; it was kept."]


def test_an_edited_checkout_replaces_the_server_of_the_same_release(checkout: Site) -> None:
    before = checkout.json("up")
    assert checkout.json("up")["outcome"] == "found"
    (checkout.package / "more.py").write_text("x = 1\n")

    after = checkout.json("up")

    assert after["outcome"] == "replaced"
    assert before["version"].startswith("0.2.0+src.")
    assert after["version"] != before["version"]


def test_a_file_in_place_of_the_cache_directory_names_the_way_out(site: Site) -> None:
    (site.home / ".cache").write_text("not a directory")

    refused = site.run("up")
    elsewhere = site.json("up", f"--data-dir={site.root / 'elsewhere'}")

    assert refused.returncode == 1
    assert "cannot be used" in refused.stderr
    assert "--data-dir" in refused.stderr
    assert elsewhere["outcome"] == "started"


@pytest.mark.slow
def test_ups_killed_at_any_point_leave_nothing_that_blocks_the_next(site: Site) -> None:
    began = time.monotonic()
    site.json("up")
    whole_s = time.monotonic() - began
    site.json("down")
    for part in (0.1, 0.3, 0.5, 0.7, 0.9):
        with site.start("up") as doomed:
            try:
                doomed.wait(timeout=part * whole_s)
            except subprocess.TimeoutExpired:
                doomed.kill()
        found = site.json("up")
        assert site.json("up")["boot_id"] == found["boot_id"]
        site.json("down")


def test_a_server_survives_the_interrupt_of_the_terminal_that_started_it(site: Site) -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "reapi_local_launcher", "up"],
        env={**site.env, "PYTHONPATH": site.python_path},
        stdout=subprocess.DEVNULL,
        start_new_session=True,
    )
    assert process.wait(timeout=PATIENCE_S) == 0

    assert os.getsid(site.state()["pid"]) == site.state()["pid"] != process.pid


@pytest.mark.skipif(REAL, reason="makes an older release of the stand-in")
def test_a_release_that_cannot_prove_itself_is_replaced(site: Site) -> None:
    program = site.package / "__main__.py"
    now = program.read_text()
    program.write_text(now.replace("challenge.PATH", "'/none'"))
    old = Server(site)
    program.write_text(now)

    status, check = site.json("status"), " ".join(site.run("check").stdout.split())
    with pytest.raises(LauncherError, match="older release"):
        launch(site.settings, site.env, print, site.source, Timeouts(total_s=PATIENCE_S))
    new = site.json("up")

    assert (status["running"], status["condition"]) == (False, "outdated")
    assert "older release" in check
    assert (new["outcome"], old.process.wait(PATIENCE_S)) == ("replaced", 0)
    assert new["pid"] != old.process.pid


@pytest.mark.slow
def test_a_hung_server_is_named_and_can_be_killed(site: Site) -> None:
    hung = site.json("up", "--show-token")
    os.kill(hung["pid"], signal.SIGSTOP)

    with pytest.raises(LauncherError) as refused:
        launch(site.settings, site.env, print, site.source, Timeouts(other_s=0.5))

    assert f"Process {hung['pid']} uses" in refused.value.why
    assert "reapi-local down --kill" in refused.value.remedy
    assert site.json("down", "--kill") == {"stopped": True}
    assert site.json("up", "--show-token")["token"] != hung["token"]


def test_a_log_that_has_grown_is_set_aside_at_the_next_start(site: Site) -> None:
    site.data_dir.mkdir(parents=True)
    log = site.data_dir / "server.log"
    log.write_bytes(b"x" * (5 * 1024 * 1024 + 1))

    site.json("up")

    assert (site.data_dir / "server.log.1").stat().st_size == 5 * 1024 * 1024 + 1
    assert b"x" * 100 not in log.read_bytes()


@needs_fake
def test_a_server_that_dies_early_shows_the_end_of_its_log(site: Site) -> None:
    site.data_dir.mkdir(parents=True)
    (site.data_dir / "server.log").write_text("of an earlier start\n")
    (site.package / "__main__.py").write_text("raise SystemExit('the cat sat on the keyboard')\n")

    done = site.run("up")

    assert done.returncode == 1
    assert "the cat sat on the keyboard" in done.stderr
    assert "server.log" in done.stderr
    assert "earlier start" not in done.stderr


def test_serve_becomes_the_server_and_stops_in_good_order_when_told_to(site: Site) -> None:
    with site.start("serve", "--max-size=1GiB", "--version-label=9.9") as process:
        assert process.stderr is not None
        process.stderr.readline()
        while not (status := site.json("status"))["running"]:
            assert process.poll() is None
        assert status["pid"] == process.pid
        assert site.state()["max_size_bytes"] == 1024**3
        assert site.state()["version"] == "9.9"
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=PATIENCE_S) == 0


class _Stranger(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        content = b'{"api": 1, "status": "serving", "boot_id": "that of another"}'
        self.send_response(200)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        pass


def _rewrite_state(site: Site, **changes: object) -> None:
    (site.data_dir / "server.json").write_text(json.dumps({**site.state(), **changes}))
