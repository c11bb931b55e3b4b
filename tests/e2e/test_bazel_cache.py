"""Bazel 4.2.3 and 2.1.0 build from the server what they built before, and the counts agree."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import pytest

from e2e.bazel_repo import INSTANCE, LARGE, TARGETS, Build, Workspace, find_bazel, token_proxy
from reapi_local_launcher.server.launch import launch
from reapi_local_launcher.server.running import Running
from reapi_local_launcher.server.stop import stop
from reapi_local_launcher.server_settings import ServerSettings

pytestmark = pytest.mark.slow

PROGRAMS = {
    "4.2.3": ("REAPI_LOCAL_TEST_BAZEL_4", "/usr/bin/bazel"),
    "2.1.0": ("REAPI_LOCAL_TEST_BAZEL_2", "bazel-2.1.0"),
}
# Five actions; of each test the run and its report.
SPAWNS = sorted([*TARGETS, "both_test", "folder_test"])
REFUSED = 34
"""Bazel's exit code for trouble with the remote end."""


@dataclass(frozen=True)
class Shop:
    """A Bazel with its workspace, and a server only it uses. ``cache`` is its way to the server."""

    version: str
    workspace: Workspace
    server: Running
    cache: str

    def test(self, base: str, *flags: str) -> Build:
        """Run all tests; the server's counts for the run must be those of Bazel's own log."""
        build = self.workspace.test(base, self.cache, self.server.token, *flags).must_succeed()
        hits = sum(spawn.is_hit for spawn in build.spawns)
        run = self.newest_run()
        assert run["run"] == build.invocation
        assert run["tool"].startswith("bazel")
        assert (run["hits"], run["misses"]) == (hits, len(build.spawns) - hits)
        assert build.summary.get("remote cache hit", 0) == hits
        assert sum(build.summary.values()) == len(build.spawns)
        assert "WARNING" not in build.log
        return build

    def newest_run(self) -> dict[str, Any]:
        answer: Any = self.server.call("GET", f"/v1/runs?limit=1&instance={INSTANCE}")
        return dict(answer["runs"][0])

    def status(self) -> dict[str, Any]:
        return dict(self.server.call("GET", "/v1/status"))

    def calls(self, method: str) -> int:
        return int(self.status()["calls"][method]["count"])


@pytest.fixture(scope="module", params=PROGRAMS)
def shop(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Shop]:
    version = str(request.param)
    program = find_bazel(*PROGRAMS[version])
    root = tmp_path_factory.mktemp("bazel")
    env = {**os.environ, "XDG_CACHE_HOME": str(root / "cache")}
    settings = ServerSettings(data_dir=str(root / "data"), server_python=sys.executable)
    with ExitStack() as stack:
        server = launch(settings, env, print)
        stack.callback(stop, settings, env, kill=True)
        cache = server.grpc_address
        if version == "2.1.0":
            cache = stack.enter_context(token_proxy(cache, server.token))
        yield Shop(version, Workspace(root / "bazel", program), server, cache)


@pytest.fixture(scope="module")
def first(shop: Shop) -> Build:
    """The first build, of a server that has nothing."""
    return shop.test("first")


def targets(build: Build) -> Sequence[str]:
    return sorted(spawn.target for spawn in build.spawns)


def test_the_first_build_runs_and_uploads_everything(shop: Shop, first: Build) -> None:
    assert first.ran == targets(first) == SPAWNS
    assert first.outputs()["large.out"] == LARGE
    count = shop.status()["action_cache"][INSTANCE]
    assert (count["hits"], count["misses"], count["writes"]) == (0, len(SPAWNS), len(SPAWNS))
    written = shop.status()["calls"]["ByteStream/Write"]
    assert written["count"] > 0
    assert written["errors"] == 0


def test_an_empty_output_base_is_served_everything_the_first_build_made(
    shop: Shop, first: Build
) -> None:
    written = shop.calls("ByteStream/Write")
    second = shop.test("second")
    assert second.ran == []
    assert targets(second) == SPAWNS
    assert second.outputs() == first.outputs()
    assert second.outputs()["folder/deep/er/copy"] == b"world\n"
    assert shop.calls("ByteStream/Write") == written


def test_a_changed_input_runs_again_only_what_depends_on_it(shop: Shop, first: Build) -> None:
    shop.workspace.write("left.txt", "hello again\n")
    changed = shop.test("changed")
    shop.workspace.write("left.txt", "hello\n")
    assert changed.ran == ["both", "both_test", "both_test", "left"]
    assert targets(changed) == SPAWNS
    assert changed.outputs()["both.out"] == b"HELLO AGAIN\ndlrow\n"


def test_a_build_without_downloads_leaves_the_outputs_on_the_server(
    shop: Shop, first: Build
) -> None:
    minimal = shop.test("minimal", "--remote_download_minimal")
    assert minimal.ran == []
    assert targets(minimal) == SPAWNS
    assert minimal.outputs() == {}


def test_a_wrong_token_is_named_as_the_reason_before_anything_is_built(
    shop: Shop, first: Build
) -> None:
    before = shop.calls("ActionCache/GetActionResult")
    refused = shop.workspace.test("refused", shop.server.grpc_address, "wrong")
    assert refused.status == REFUSED
    assert "UNAUTHENTICATED: " in refused.log
    assert "token" in refused.log
    assert "`reapi-local token show` prints" in refused.log
    assert shop.calls("ActionCache/GetActionResult") == before


def test_with_local_fallback_a_wrong_token_is_a_warning(shop: Shop, first: Build) -> None:
    alone = shop.workspace.test(
        "alone", shop.server.grpc_address, "wrong", "--remote_local_fallback"
    )
    if shop.version == "2.1.0":  # falls back only once it has had the capabilities
        assert alone.status == REFUSED
        return
    assert alone.must_succeed().ran == SPAWNS
    assert "WARNING: Failed to query remote execution capabilities: UNAUTHENTICATED" in alone.log
    assert alone.outputs() == first.outputs()
