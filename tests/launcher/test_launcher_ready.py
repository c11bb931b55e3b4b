"""A quick launch and `find_running`: what a hook may call before every command."""

from __future__ import annotations

import os
import signal
import subprocess
from pathlib import Path

import pytest

from launcher.harness import REAL, Site
from launcher.interpreters import interpreter
from patience import PATIENCE_S
from reapi_contract.command_line import PACKAGES
from reapi_local_launcher.launcher_error import LauncherError
from reapi_local_launcher.server.launch import launch
from reapi_local_launcher.server.running import Running, find_running
from reapi_local_launcher.server.timeouts import Timeouts
from reapi_local_launcher.server_settings import ServerSettings
from reapi_local_launcher.source import fingerprint
from reapi_local_launcher.version import Verdict, judge

_OTHER_PYTHONS = ("3.9", "3.10", "3.12", "3.13", "3.14")


def quick(site: Site, total_s: float = PATIENCE_S) -> Running:
    return launch(site.settings, site.env, print, site.source, Timeouts(total_s=total_s))


def refusal(site: Site, total_s: float = PATIENCE_S) -> LauncherError:
    with pytest.raises(LauncherError) as refused:
        quick(site, total_s)
    return refused.value


def test_a_server_is_started_at_once_where_everything_is_there(site: Site) -> None:
    answer = quick(site)

    assert answer.outcome == "started"
    assert find_running(site.settings, site.env, PATIENCE_S) is not None


@pytest.mark.skipif(REAL, reason="holds back the stand-in server")
def test_a_start_that_takes_longer_goes_on_for_the_next_command(site: Site, tmp_path: Path) -> None:
    quick(site)
    site.json("down")
    gate = tmp_path / "gate"
    os.mkfifo(gate)
    usual = site.env
    site.env = {**usual, "FAKE_SERVER_GATE": str(gate)}

    early = refusal(site, 0.3)
    site.env = usual
    gate.write_bytes(b"go")
    later = site.json("up")

    assert early.what == "The server is still starting."
    assert early.remedy == "The next command will find it; `reapi-local up` waits for it."
    assert later["outcome"] == "found"


def test_an_environment_is_never_built(site: Site) -> None:
    site.require("import a_package_that_nobody_has")

    assert "reapi-local up" in refusal(site).remedy
    assert not (site.data_dir.parent / "environments").exists()


def test_without_time_to_ask_the_interpreter_the_answer_comes_at_once(site: Site) -> None:
    refused = refusal(site, 0.0)

    assert "no time to check" in refused.why
    assert not (site.data_dir / "server.log").exists()


def test_an_older_server_is_used_and_noted(site: Site) -> None:
    site.set_version("0.1.0")
    old = site.json("up")
    site.set_version("0.2.0")

    answer = quick(site)

    assert answer.pid == old["pid"]
    assert answer.notes == ("The running server is 0.1.0; `reapi-local up` replaces it by 0.2.0.",)


def test_an_unusable_data_directory_is_named_with_the_setting_for_another(
    site: Site, tmp_path: Path
) -> None:
    (tmp_path / "file").touch()
    settings = ServerSettings(data_dir=str(tmp_path / "file" / "data"))

    with pytest.raises(LauncherError) as refused:
        launch(settings, site.env, print, site.source, Timeouts(total_s=PATIENCE_S))

    assert "--data-dir" in refused.value.remedy


def test_a_server_that_does_not_answer_is_not_found(site: Site) -> None:
    pid = site.json("up")["pid"]
    assert find_running(site.settings, site.env, PATIENCE_S) is not None
    os.kill(pid, signal.SIGSTOP)

    assert find_running(site.settings, site.env, timeout_s=0.2) is None


@pytest.mark.parametrize("version", _OTHER_PYTHONS)
def test_other_pythons_compile_the_launcher_and_find_the_server(site: Site, version: str) -> None:
    python = interpreter(version)
    up = site.json("up")
    compiled = subprocess.run(
        [python, "-W", "error", "-m", "compileall", "-q", "-f", *map(str, site.path)],
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
    for package in PACKAGES:
        (tmp_path / package).mkdir()
        (tmp_path / package / "a.py").write_text("x = 1\n")
    seen = [fingerprint(tmp_path)]
    for package in PACKAGES:
        (tmp_path / package / "notes.txt").write_text("not code\n")
        assert fingerprint(tmp_path) == seen[-1]
        (tmp_path / package / "a.py").rename(tmp_path / package / "b.py")
        seen.append(fingerprint(tmp_path))

    assert len(set(seen)) == 1 + len(PACKAGES)
    assert {len(digits) for digits in seen} == {12}
