"""`reapi-local` with a server that encrypts: certificates, start, status, check and stop."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from launcher.harness import Site
from reapi_contract.setting_names import variable

MINE = f"--server-python={sys.executable}"


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    made = Site(tmp_path_factory.mktemp("tls"), real=True)
    yield made
    made.clean_up()


@pytest.fixture(scope="module")
def certificates(site: Site) -> Path:
    done = site.run("tls", "init", MINE, "--host=cache.example", "--client=me")
    assert done.returncode == 0, done.stderr
    directory = site.home / ".config" / "reapi-local" / "tls"
    # It prints how the server is started, in words that a shell understands.
    [line] = [line for line in done.stdout.splitlines() if " serve " in line]
    assert shlex.split(line) == [
        *("reapi-local", "serve", "--tls-cert", f"{directory}/server.pem"),
        *("--tls-key", f"{directory}/server-key.pem", "--tls-client-ca", f"{directory}/ca.pem"),
    ]
    for said in ("remote_ca_certs_path", "--tls_certificate=", "--server-cert="):
        assert said in done.stdout
    return directory


def settings(certificates: Path, *, mutual: bool) -> dict[str, str]:
    files = {"tls_cert": "server.pem", "tls_key": "server-key.pem"}
    if mutual:
        files["tls_client_ca"] = "ca.pem"
    return {variable(name): str(certificates / file) for name, file in files.items()}


@pytest.mark.parametrize("mutual", [False, True], ids=["token", "certificate"])
def test_every_command_works_with_tls(site: Site, certificates: Path, mutual: bool) -> None:
    before = dict(site.env)
    site.env |= settings(certificates, mutual=mutual)
    where = f"--data-dir={site.root}/data-{mutual}"
    try:
        up = site.json("up", where, MINE, "--show-token")
        site.env = before  # other commands have only the state file to go by
        assert up["grpc_address"].startswith("grpcs://localhost:")
        assert up["needs_client_certificate"] is mutual
        assert f"--tls_certificate={certificates}/server.pem" in up["bazel_flags"]
        assert site.json("up", where, MINE)["outcome"] == "found"
        assert site.json("status", where)["grpc_address"] == up["grpc_address"]
        assert site.json("check", where)["ok"]

        token = site.root / "token"
        token.write_text(up["token"])
        as_client = [f"--address={up['grpc_address']}", MINE]
        as_client += [f"--ca-certs-path={certificates}/ca.pem"]
        shown = [f"--token-path={token}"]
        if mutual:
            refused = site.run("check", *as_client, *shown)
            assert refused.returncode == 1
            shown = [f"--client-certs-path={certificates}/client-me.pem"]
            shown += [f"--client-key-path={certificates}/client-me-key.pem"]
        assert site.json("check", *as_client, *shown)["ok"]
        distrusting = [one for one in as_client if "ca-certs" not in one]
        said = " ".join(site.run("check", *distrusting, *shown).stdout.split())
        assert "CERTIFICATE_VERIFY_FAILED" in said
        assert "name the file of the authorities to trust" in said
        assert site.json("down", where) == {"stopped": True}
    finally:
        site.env = before
        site.run("down", "--kill", where)


def test_status_tells_what_calls_without_a_token_may_do(site: Site) -> None:
    before = dict(site.env)
    site.env |= {variable("auth"): "none", variable("execution"): "off"}
    where = f"--data-dir={site.root}/open"
    try:
        said = "may read everything in the cache"
        assert said in " ".join(site.run("up", where, MINE).stdout.split())
        site.env = before
        assert said in " ".join(site.run("status", where).stdout.split())
        assert site.json("check", where)["ok"]
    finally:
        site.env = before
        site.run("down", "--kill", where)


def test_settings_of_tls_that_can_not_be_used_are_told_when_it_starts(
    site: Site, certificates: Path
) -> None:
    before = dict(site.env)
    site.env |= settings(certificates, mutual=False)
    site.env[variable("tls_key")] = str(certificates / "client-me-key.pem")
    try:
        refused = site.run("up", f"--data-dir={site.root}/refused", MINE)
    finally:
        site.env = before
    assert refused.returncode == 1
    said = " ".join(refused.stderr.split())
    assert "doesn't belong to the certificate" in said
    assert "Name the two files of one pair" in said


def test_a_relative_directory_is_that_of_the_user(site: Site, tmp_path: Path) -> None:
    """The command ends as the server's program, which has another working directory nowhere."""
    done = subprocess.run(
        [sys.executable, "-m", "reapi_local_launcher", "tls", "init", "here", MINE],
        env={**site.env, "PYTHONPATH": site.python_path, "PATH": os.environ["PATH"]},
        cwd=tmp_path,
        check=True,
        capture_output=True,
        text=True,
    )
    assert (tmp_path / "here" / "ca.pem").exists()
    assert f"made in {tmp_path}/here" in done.stdout
