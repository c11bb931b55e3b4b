"""Bazel 4.2.3 and 2.1.0 run every process of a build on the server, and the counts agree."""

from __future__ import annotations

import os
import queue
import socket
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from google.longrunning import operations_pb2

from e2e import bazel_cpp
from e2e.bazel_repo import (
    INSTANCE,
    LARGE,
    Build,
    Run,
    Workspace,
    caching,
    executing,
    find_bazel,
    token_proxy,
)
from e2e.test_bazel_cache import PROGRAMS
from reapi_local.proto import remote_execution_pb2 as re_pb2
from reapi_local_plugin.launcher.execution import execution_in
from reapi_local_plugin.launcher.launch import ensure
from reapi_local_plugin.launcher.running import Running
from reapi_local_plugin.launcher.settings import Settings
from reapi_local_plugin.launcher.stop import stop

ALL = ("//:all", "//cpp:all", "//links:all")
BUILD_FAILED, TESTS_FAILED, INTERRUPTED = 1, 3, 8
"""Bazel's exit codes."""
NETWORK = "--remote_default_exec_properties=network=on"

TROUBLE = {
    "trouble/BUILD": """
genrule(name = "fails", outs = ["fails.out"], cmd = "echo made >$@; echo the reason >&2; exit 7")
genrule(name = "folder", outs = ["folder.out"], cmd = "mkdir $@")
sh_test(name = "failing_test", size = "small", srcs = ["failing_test.sh"])
sh_test(name = "slow_test", size = "small", srcs = ["slow_test.sh"])
""",
    "trouble/failing_test.sh": "#!/bin/sh\necho not today; exit 5\n",
    "trouble/slow_test.sh": "#!/bin/sh\necho so far; sleep 3600\n",
}
# Each says its name to who listens on the port, and ends when that hangs up. The daemon has the
# connection, too.
VISITORS = {
    "visitors/BUILD": """
[genrule(
    name = name,
    outs = [name + ".out"],
    cmd = "exec 3<>/dev/tcp/127.0.0.1/$(port); echo $@ >&3; cat <&3 >$@",
) for name in ["first", "second", "patient", "urgent"]]
genrule(
    name = "stubborn",
    outs = ["stubborn.out"],
    cmd = "exec 3<>/dev/tcp/127.0.0.1/$(port); trap '' INT TERM HUP; setsid sleep 3600 & "
        + "echo $@ >&3; cat <&3 >$@; sleep 3600",
)
""",
}


@dataclass(frozen=True)
class Counts:
    """What the server says it has done with actions since its start."""

    executed: int = 0
    cached: int = 0
    failed: int = 0


@dataclass(frozen=True)
class Shop:
    """A Bazel with its workspace, and a server only it uses. ``executor`` is its way there."""

    workspace: Workspace
    server: Running
    executor: str

    @property
    def flags(self) -> list[str]:
        return executing(self.executor, self.server.token)

    def run(self, base: str, *words: str) -> Build:
        """Run Bazel; the server must have executed each process that was no hit, and no other."""
        before = self.executed()
        build = self.workspace.run(base, *words, "--keep_going", *self.flags)
        assert self.executed() - before == len(build.ran), build.log
        assert "WARNING" not in build.log
        return build

    def executed(self) -> int:
        """How many actions the server says it has executed, whatever came of them."""
        counts = self.server.call("GET", "/v1/status")["executions"]
        assert isinstance(counts, dict)
        own = counts.get(INSTANCE, {"executed": 0, "failed": 0})
        return int(own["executed"] + own["failed"])


@pytest.fixture(scope="module", params=PROGRAMS)
def shop(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Shop]:
    version = str(request.param)
    program = find_bazel(*PROGRAMS[version])
    root = tmp_path_factory.mktemp("bazel")
    env = {
        **os.environ,
        "XDG_CACHE_HOME": str(root / "cache"),
        "REAPI_LOCAL_WATCH_GRACE": "1",
    }
    settings = Settings(data_dir=str(root / "data"), server_python=sys.executable, slots=2)
    with ExitStack() as stack:
        server = ensure(settings, env, print)
        stack.callback(stop, settings, env, kill=True)
        offer = execution_in(server.call("GET", "/v1/status"))
        if not offer.offered:
            pytest.skip(" ".join(offer.reasons))
        executor = server.grpc_address
        if version == "2.1.0":
            executor = stack.enter_context(token_proxy(executor, server.token))
        yield Shop(workspace(root / "bazel", program), server, executor)


def workspace(root: Path, program: Path) -> Workspace:
    made = Workspace(root, program)
    for name, content in {**bazel_cpp.FILES, **TROUBLE, **VISITORS}.items():
        made.write(name, content)
    return made


@pytest.fixture(scope="module")
def first(shop: Shop) -> Build:
    """The first build, of a server that has nothing."""
    return shop.run("first", "test", *ALL).must_succeed()


def test_every_process_of_a_build_runs_on_the_server(shop: Shop, first: Build) -> None:
    assert first.summary == {"remote": len(first.spawns)}
    assert first.outputs()["large.out"] == LARGE
    assert first.tree()["cpp/greeted.out"] == b"Hello, C++\n"
    assert first.tree()["links/read.out"] == b"content\nfar\nfar\n"


def test_what_it_makes_is_what_bazel_makes_itself(shop: Shop, first: Build) -> None:
    alone = shop.workspace.run("alone", "test", *ALL, "--spawn_strategy=local").must_succeed()
    assert alone.summary == {"local": len(first.spawns)}
    assert alone.tree() == first.tree()


def test_an_empty_output_base_is_served_without_running_anything(shop: Shop, first: Build) -> None:
    second = shop.run("second", "test", *ALL).must_succeed()
    assert second.summary == {"remote cache hit": len(first.spawns)}
    assert second.tree() == first.tree()
