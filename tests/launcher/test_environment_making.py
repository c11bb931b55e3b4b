"""Making the private environment: its progress, its tools, and what an interrupt leaves behind."""

from __future__ import annotations

import os
import pty
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from file_systems import small_file_system
from launcher.fake_python import needs_environment
from launcher.harness import REAL, Site
from reapi_local_launcher.server.launch import launch

needs_fake = pytest.mark.skipif(REAL, reason="this Python has no packages for the real server")
# What pip writes for each package; this one has three.
PIP = "for one in a b c; do echo Collecting $one==1; done"


@pytest.fixture(autouse=True)
def _without_uv(site: Site) -> None:
    site.env["PATH"] = os.pathsep.join(
        directory
        for directory in site.env["PATH"].split(os.pathsep)
        if not Path(directory, "uv").exists()
    )


def environments(site: Site) -> Path:
    return site.data_dir.parent / "environments"


def made_in(site: Site) -> list[str]:
    """The directories of whole and of partial environments."""
    return [path.name for path in environments(site).iterdir() if path.is_dir()]


class Clock:
    """The time, plus as many seconds as a file has bytes: so that other processes can set it."""

    def __init__(self, file: Path, patch: pytest.MonkeyPatch) -> None:
        file.touch()
        real = time.monotonic
        patch.setattr(time, "monotonic", lambda: real() + file.stat().st_size)


@needs_fake
def test_however_long_an_environment_takes_there_is_time_to_ask_its_interpreter(
    site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hour = tmp_path / "hour"
    Clock(hour, monkeypatch)
    needs_environment(site, f"head -c 3600 /dev/zero >> {hour}")
    said: list[str] = []

    running = launch(site.settings, site.env, said.append, site.source)

    assert running.outcome == "started"
    assert said[-2].startswith("The environment is ready after 360")
    assert said[-1].startswith("  /")  # the path alone on its line
    assert max(map(len, said[:-1])) <= 80


@needs_fake
def test_a_pipe_gets_a_line_now_and_then(
    site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = tmp_path / "clock"
    Clock(clock, monkeypatch)
    # Ten seconds pass with each package.
    needs_environment(
        site,
        "for one in a b c d e f g h i j k l m n o p q r s t; do "
        f"head -c 10 /dev/zero >> {clock}; echo Collecting $one==1; done",
    )
    said: list[str] = []

    launch(site.settings, site.env, said.append, site.source)

    steps = [line for line in said if " packages, " in line]
    assert 1 <= len(steps) <= 7
    assert all(re.search(r": \d+ of \d\d packages, \d+ s$", line) for line in steps)


@needs_fake
def test_a_terminal_gets_one_line_that_is_rewritten(site: Site) -> None:
    needs_environment(site, f"{PIP}; echo Collecting {'x' * 100}; echo end")
    terminal, inner = pty.openpty()
    with subprocess.Popen(
        [sys.executable, "-m", "reapi_local_launcher", "up"],
        env={**site.env, "PYTHONPATH": site.python_path},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=inner,
    ) as up:
        os.close(inner)
        shown = b""
        while chunk := _read(terminal):
            shown += chunk
    os.close(terminal)
    text = shown.decode()

    assert up.returncode == 0, text
    rewritten = [part for part in re.split(r"\r\x1b\[K|\r\n", text) if " packages, " in part]
    assert re.fullmatch(r"Making the server's .*: 0 of 2\d packages, \d+ s", rewritten[0])
    assert any("4 of 2" in part for part in rewritten), text
    assert max(map(len, rewritten)) <= 79
    assert "\r\x1b[KThe environment is ready after" in text


def _read(terminal: int) -> bytes:
    """What a terminal shows next; nothing when its last program has ended."""
    try:
        return os.read(terminal, 65536)
    except OSError:
        return b""


@needs_fake
def test_an_interrupt_leaves_nothing_half_made(site: Site) -> None:
    gate = site.root / "gate"
    os.mkfifo(gate)
    needs_environment(site, f"echo half > $(dirname $0)/half; read word < {gate}")
    up = site.start("up")
    with gate.open("w"):  # opens when pip waits for it
        assert made_in(site)
        up.send_signal(signal.SIGINT)
        _, err = up.communicate()

    assert up.returncode == 130, err
    assert made_in(site) == []
    needs_environment(site, PIP)
    assert site.json("up")["outcome"] == "started"


@needs_fake
def test_a_kill_leaves_nothing_that_is_used(site: Site) -> None:
    gate = site.root / "gate"
    os.mkfifo(gate)
    needs_environment(site, f"read word < {gate}")
    up = site.start("up")
    with gate.open("w"):
        up.kill()
        up.communicate()
    (left,) = made_in(site)
    assert left.startswith(".partial-")

    needs_environment(site, PIP)
    assert site.json("up")["outcome"] == "started"
    assert [name[0] for name in made_in(site)] != ["."]
    assert left not in made_in(site)


@needs_fake
@pytest.mark.parametrize("status", [0, 2])
def test_uv_installs_where_it_is_and_pip_where_it_fails(site: Site, status: int) -> None:
    needs_environment(site, "echo pip was here; echo Collecting a==1")
    uv = site.root / "bin" / "uv"
    uv.write_text(f"#!/bin/sh\necho uv was here: $*\necho it broke\nexit {status}\n")
    uv.chmod(0o755)
    site.env["PIP_CONFIG_FILE"] = os.devnull

    done = site.run("up")
    (log,) = environments(site).glob("*.log")
    written = log.read_text()

    assert done.returncode == 0, done.stderr
    assert "--require-hashes" in written
    assert ("pip was here" in written) == (status != 0)
    told = "uv could not install the packages, so pip does (it broke)." in done.stderr
    assert told == (status != 0)


@needs_fake
def test_uv_is_left_out_where_pips_configuration_names_an_index(site: Site) -> None:
    needs_environment(site, "echo pip was here")
    uv = site.root / "bin" / "uv"
    uv.write_text("#!/bin/sh\necho uv was here\n")
    uv.chmod(0o755)
    configuration = site.root / "pip.conf"
    configuration.write_text("[global]\nindex-url = https://index.example/simple\n")
    site.env["PIP_CONFIG_FILE"] = str(configuration)

    assert site.json("up")["outcome"] == "started"
    (log,) = environments(site).glob("*.log")
    assert log.read_text() == "pip was here\n"


@pytest.mark.slow
def test_the_real_uv_makes_an_environment_that_runs_the_server(site: Site, tmp_path: Path) -> None:
    real = shutil.which("uv", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    if real is None:
        pytest.skip("there is no uv")
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "uv").symlink_to(real)
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", tmp_path / "bare"], check=True)
    site.require("import grpc, lmdb, starlette, uvicorn")
    site.env["PATH"] = f"{tmp_path / 'bin'}{os.pathsep}{site.env['PATH']}"

    done = site.run("up", python=str(tmp_path / "bare" / "bin" / "python"))

    assert done.returncode == 0, done.stderr
    if "uv could not" in done.stderr:
        pytest.skip(f"uv cannot reach the package index: {done.stderr}")
    (log,) = environments(site).glob("*.log")
    assert "Resolved " in log.read_text()


@needs_fake
@pytest.mark.parametrize(
    ("size", "pip"),
    [
        ("size=20m", "echo never"),
        ("size=150m", 'cat /dev/zero > "$(dirname "$0")/more"'),
        ("size=150m", "echo ERROR: Could not install: [Errno 28] No space left on device; exit 1"),
    ],
    ids=["little", "filled", "said"],
)
def test_a_home_without_space_names_the_disk_and_not_the_index(
    site: Site, tmp_path: Path, size: str, pip: str
) -> None:
    needs_environment(site, pip)
    with small_file_system(tmp_path / "small", size) as small:
        site.env["XDG_CACHE_HOME"] = str(small)
        done = site.run("up")
        left = [path.name for path in (small / "reapi-local" / "environments").iterdir()]

    said = " ".join(done.stderr.split())
    assert done.returncode == 1
    assert f"The disk of {small}" in said
    assert "XDG_CACHE_HOME" in said
    assert "index" not in said
    assert not [name for name in left if name.startswith(".partial")]


@pytest.mark.parametrize("command", ["up", "serve"])
def test_a_full_disk_of_the_cache_is_named_by_every_start(
    checkout: Site, tmp_path: Path, command: str
) -> None:
    with small_file_system(tmp_path / "full", "size=1m,nr_inodes=4") as full:
        checkout.env["XDG_CACHE_HOME"] = str(full)
        done = checkout.run(command, f"--data-dir={tmp_path / 'data'}")

    said = " ".join(done.stderr.split())
    assert done.returncode == 1
    assert "Traceback" not in said
    assert "No space left on device" in said
    assert "Free some space on that disk" in said
