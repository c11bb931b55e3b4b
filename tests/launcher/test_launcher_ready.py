"""`start_if_ready` and `find_running`: what a hook may call before every command."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from launcher.harness import REAL, Site
from reapi_local_launcher.server.launch import NotReady, start_if_ready
from reapi_local_launcher.server.running import Running, find_running
from reapi_local_launcher.settings import Settings
from reapi_local_launcher.source import fingerprint
from reapi_local_launcher.version import Verdict, judge

_OTHER_PYTHONS = ("3.9", "3.10", "3.12", "3.13", "3.14")


def test_a_server_is_started_at_once_where_everything_is_there(site: Site) -> None:
    answer = start_if_ready(site.settings, site.env, 30.0, site.source)

    assert isinstance(answer, Running)
    assert answer.outcome == "started"
    assert find_running(site.settings, site.env) is not None


@pytest.mark.skipif(REAL, reason="holds back the stand-in server")
def test_a_start_that_takes_longer_goes_on_for_the_next_command(site: Site, tmp_path: Path) -> None:
    assert isinstance(start_if_ready(site.settings, site.env, 30.0, site.source), Running)
    site.json("down")
    gate = tmp_path / "gate"
    os.mkfifo(gate)
    held_back = {**site.env, "FAKE_SERVER_GATE": str(gate)}

    early = start_if_ready(site.settings, held_back, 0.3, site.source)
    gate.write_bytes(b"go")
    later = site.json("up")

    assert early == NotReady(
        "The server is still starting.",
        "The next command will find it; `reapi-local up` waits for it.",
    )
    assert later["outcome"] == "found"


def test_an_environment_is_never_built(site: Site) -> None:
    (site.package / "app.py").write_text("import a_package_that_nobody_has\n")

    answer = start_if_ready(site.settings, site.env, 30.0, site.source)

    assert isinstance(answer, NotReady)
    assert "reapi-local up" in answer.remedy
    assert not (site.data_dir.parent / "environments").exists()


def test_without_time_to_ask_the_interpreter_the_answer_comes_at_once(site: Site) -> None:
    answer = start_if_ready(site.settings, site.env, 0.0, site.source)

    assert isinstance(answer, NotReady)


def test_an_older_server_is_used_and_noted(site: Site) -> None:
    site.set_version("0.1.0")
    old = site.json("up")
    site.set_version("0.2.0")

    answer = start_if_ready(site.settings, site.env, 30.0, site.source)

    assert isinstance(answer, Running)
    assert answer.pid == old["pid"]
    assert answer.notes == ("The running server is 0.1.0; `reapi-local up` replaces it by 0.2.0.",)


def test_an_unusable_data_directory_is_an_answer_and_not_an_exception(
    site: Site, tmp_path: Path
) -> None:
    (tmp_path / "file").touch()
    settings = Settings(data_dir=str(tmp_path / "file" / "data"))

    answer = start_if_ready(settings, site.env, 30.0, site.source)

    assert isinstance(answer, NotReady)
    assert "--data-dir" in answer.remedy


def test_a_server_that_does_not_answer_is_not_found(site: Site) -> None:
    pid = site.json("up")["pid"]
    assert find_running(site.settings, site.env) is not None
    os.kill(pid, signal.SIGSTOP)

    assert find_running(site.settings, site.env, timeout_s=0.2) is None


@pytest.mark.parametrize("version", _OTHER_PYTHONS)
def test_other_pythons_compile_the_launcher_and_find_the_server(site: Site, version: str) -> None:
    python = _python(version, site)
    up = site.json("up")
    compiled = subprocess.run(
        [python, "-W", "error", "-m", "compileall", "-q", "-f", str(site.plugin / "launcher")],
        check=False,
    )

    assert compiled.returncode == 0
    assert site.json("up", python=python)["boot_id"] == up["boot_id"]
    assert site.json("status", python=python)["pid"] == up["pid"]
    assert site.json("down", python=python) == {"stopped": True}


@pytest.mark.parametrize(
    ("running", "ours", "verdict"),
    [
        ("0.1.0", "0.1.0", Verdict.KEEP),
        ("0.1", "0.1.0", Verdict.REPLACE),
        ("0.9.0", "0.10.0", Verdict.REPLACE),
        ("0.10.0", "0.9.0", Verdict.NEWER),
        ("1.0.0rc1", "1.0.0", Verdict.REPLACE),
        ("1.0.0", "1.0.0.dev3", Verdict.NEWER),
        ("1.0.0+src.aaaaaaaaaaaa", "1.0.0+src.bbbbbbbbbbbb", Verdict.REPLACE),
        ("1.0.1+src.aaaaaaaaaaaa", "1.0.0+src.bbbbbbbbbbbb", Verdict.NEWER),
        ("nonsense", "0.1.0", Verdict.REPLACE),
    ],
)
def test_versions_decide_who_stays(running: str, ours: str, verdict: Verdict) -> None:
    assert judge(running, ours) is verdict


def test_the_fingerprint_follows_names_and_contents_of_python_files(tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text("x = 1\n")
    first = fingerprint(tmp_path)
    (tmp_path / "notes.txt").write_text("not code\n")
    same = fingerprint(tmp_path)
    (tmp_path / "a.py").rename(tmp_path / "b.py")

    assert same == first
    assert len(first) == 12
    assert fingerprint(tmp_path) != first


def _python(version: str, site: Site) -> str:
    """A Python of this version on PATH or under pyenv; skips the test where there is none."""
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")) / "versions"
    candidates = [f"python{version}", *map(str, pyenv.glob(f"{version}.*/bin/python"))]
    for candidate in candidates:
        try:
            question = "import sys; print(sys.executable)"
            asked = subprocess.run(
                [candidate, "-c", question], capture_output=True, text=True, check=False
            )
        except OSError:
            continue
        if asked.returncode == 0 and asked.stdout.strip() != sys.executable:
            return asked.stdout.strip()
    pytest.skip(f"there is no Python {version} on this machine")
