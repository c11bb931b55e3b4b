"""Bazel 2.1.0, which can't send a token, on a server that needs none; and over TLS.

Debian's Bazel 4.2.3 has no TLS: its Netty was built without ALPN.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from e2e.bazel_repo import Build, Workspace, find_bazel
from reapi_local_launcher.cli.bazelrc import flags as bazel_flags
from reapi_local_launcher.server.launch import launch
from reapi_local_launcher.server.running import Running
from reapi_local_launcher.server.stop import stop
from reapi_local_launcher.server_settings import ServerSettings
from rpc.certificates import authority

pytestmark = pytest.mark.slow

NO_TOKEN = {"execution": "off", "auth": "none"}


@contextmanager
def server(root: Path, **variables: str) -> Iterator[Running]:
    """A server that is started with these settings, in upper case, as variables."""
    named = {f"REAPI_LOCAL_{name.upper()}": value for name, value in variables.items()}
    env = {**os.environ, "XDG_CACHE_HOME": str(root / "cache"), **named}
    settings = ServerSettings(data_dir=str(root / "data"), server_python=sys.executable)
    try:
        yield launch(settings, env, print)
    finally:
        stop(settings, env, kill=True)


def build(workspace: Workspace, base: str, *flags: str) -> Build:
    return workspace.run(base, "build", ":left", "--spawn_strategy=local", *flags)


def bazel(root: Path) -> Workspace:
    return Workspace(root / "bazel", find_bazel("REAPI_LOCAL_TEST_BAZEL_2", "bazel-2.1.0"))


def is_from_the_server(one: Build) -> bool:
    return one.must_succeed().ran == [] and one.outputs() == {"left.out": b"HELLO\n"}


def test_bazel_2_1_works_where_calls_need_no_token_and_over_tls(tmp_path: Path) -> None:
    own, workspace = authority(tmp_path / "tls"), bazel(tmp_path)
    with server(tmp_path, **NO_TOKEN, anonymous="write", **own.settings) as running:
        assert running.grpc_address.startswith("grpcs://localhost:")
        flags = bazel_flags(running, "default", with_token=False)
        assert flags[-1].startswith("--tls_certificate=")
        assert build(workspace, "first", *flags).must_succeed().ran == ["left"]
    with server(tmp_path, **NO_TOKEN) as running:
        flags = [
            *bazel_flags(running, "default", with_token=False),
            "--noremote_upload_local_results",
        ]
        assert is_from_the_server(build(workspace, "second", *flags))
