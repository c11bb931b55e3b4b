"""`reapi-local bazelrc` writes the token where only the user can read it; nothing else shows it."""

from __future__ import annotations

import os
import shlex
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from launcher.harness import REAL, Site, with_tls
from patience import PATIENCE_S


def flags_in(text: str) -> list[str]:
    """The flags in a .bazelrc, whose words are those of a shell."""
    lines = [shlex.split(line, comments=True) for line in text.splitlines()]
    assert all(line[0] == "build" and len(line) == 2 for line in lines if line)
    return [line[1] for line in lines if line]


def mode_of(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_no_command_shows_the_token_unless_asked_to(site: Site) -> None:
    done = [site.run("up")]
    token = site.state()["token"]
    done += [
        site.run(*command)
        for command in (
            *(("up",), ("up", "--json"), ("status",), ("status", "--json"), ("check", "--json")),
            *(("logs",), (), ("purge", "--yes"), ("up",), ("purge", "--yes", "--json"), ("down",)),
        )
    ]
    assert [one.returncode for one in done] == [0] * len(done)
    assert not [one.args for one in done if token in one.stdout + one.stderr]
    assert site.json("up", "--show-token")["token"] == token
    assert f"  token      {token}\n" in site.run("up", "--show-token").stdout


def test_a_bazelrc_has_all_that_bazel_needs(site: Site) -> None:
    site.json("up")
    state = site.state()
    address = f"grpc://127.0.0.1:{state['grpc_port']}"
    header = f"--remote_header=authorization=Bearer {state['token']}"

    cache = flags_in(site.run("bazelrc").stdout)
    executing = flags_in(site.run("bazelrc", "--execution", "--instance=mine").stdout)

    assert cache == [f"--remote_cache={address}", "--remote_instance_name=default", header]
    assert executing == [f"--remote_executor={address}", "--remote_instance_name=mine", header]


def test_a_bazelrc_names_an_instance_that_the_server_has(site: Site) -> None:
    site.json("up", "--instance=first", "--instance=second")
    assert "--remote_instance_name=first" in flags_in(site.run("bazelrc").stdout)


@pytest.mark.skipif(REAL, reason="the stand-in has no TLS")
def test_a_bazelrc_trusts_the_servers_certificate(site: Site) -> None:
    site.json("up")
    with_tls(site, ca_certs_path="/our tls/server.pem")
    assert "--tls_certificate=/our tls/server.pem" in flags_in(site.run("bazelrc").stdout)

    with_tls(site, needs_client_certificate=True)
    shown = site.run("bazelrc").stdout
    assert site.state()["token"] not in shown
    assert "# build --tls_client_certificate=" in shown


def test_without_a_server_there_is_no_bazelrc(site: Site) -> None:
    done = site.run("bazelrc", "--output", str(site.root / "rc"))
    assert done.returncode == 1
    assert "`reapi-local up`" in done.stderr
    assert not (site.root / "rc").exists()


@pytest.mark.skipif(REAL, reason="the stand-in has no bubblewrap")
def test_without_a_sandbox_there_is_no_bazelrc_that_executes(site: Site) -> None:
    site.json("up", "--sandbox=bubblewrap")
    done = site.run("bazelrc", "--execution")
    assert (done.returncode, done.stdout) == (1, "")
    assert "apt install bubblewrap" in done.stderr


def test_the_file_is_the_users_alone_from_the_start(site: Site) -> None:
    site.json("up")
    file = site.root / "rc"
    file.write_text("old\n")
    file.chmod(0o644)
    with file.open() as of_another:
        done = site.run("bazelrc", "--output", str(file))
        assert of_another.read() == "old\n", "whoever had it open reads the token"
    assert (done.returncode, done.stdout) == (0, "")
    assert site.state()["token"] in file.read_text()
    assert mode_of(file) == 0o600
    assert [path.name for path in site.root.glob("*rc*")] == ["rc"]


def test_a_redirected_token_is_the_users_alone(site: Site) -> None:
    site.json("up")
    file = site.root / "rc"
    for command in (["bazelrc"], ["up", "--show-token"], ["up", "--json", "--show-token"]):
        with file.open("w") as out:
            file.chmod(0o644)
            subprocess.run(
                [sys.executable, "-m", "reapi_local_launcher", *command],
                env={**site.env, "PYTHONPATH": site.python_path},
                stdout=out,
                timeout=PATIENCE_S,
                check=True,
            )
        assert site.state()["token"] in file.read_text()
        assert mode_of(file) == 0o600


@pytest.mark.parametrize("kind", ["link", "fifo", "directory"])
def test_only_a_regular_file_is_replaced(site: Site, kind: str) -> None:
    site.json("up")
    target, file = site.root / "target", site.root / "rc"
    target.write_text("theirs")
    if kind == "link":
        file.symlink_to(target)
    elif kind == "fifo":
        os.mkfifo(file)
    else:
        file.mkdir()
    done = site.run("bazelrc", "--output", str(file))
    assert done.returncode == 1
    assert "no regular file" in " ".join(done.stderr.split())
    assert target.read_text() == "theirs"


def test_the_token_is_shown_when_asked_for(site: Site) -> None:
    none = site.run("token", "show")
    assert (none.returncode, none.stdout) == (1, "")
    assert "`reapi-local up`" in none.stderr

    site.json("up")
    token, file = site.state()["token"], site.root / "token"
    assert site.run("token", "show").stdout == f"{token}\n"
    assert site.run("token", "show", "-o", str(file)).stdout == ""
    assert (file.read_text(), mode_of(file)) == (f"{token}\n", 0o600)
    assert site.run("token").returncode == 2
