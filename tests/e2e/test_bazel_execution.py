"""Bazel 4.2.3 and 2.1.0 run every process of a build on the server, and the counts agree."""

from __future__ import annotations

import os
import queue
import re
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
from e2e.test_bazel_cache import PROGRAMS, REFUSED
from patience import PATIENCE_S
from reapi_local.proto import remote_execution_pb2 as re_pb2
from reapi_local_launcher.server.launch import launch
from reapi_local_launcher.server.running import Running
from reapi_local_launcher.server.server_status import execution_of
from reapi_local_launcher.server.stop import stop
from reapi_local_launcher.server_settings import ServerSettings

pytestmark = pytest.mark.slow

ALL = ("//:all", "//cpp:all", "//links:all")
BUILD_FAILED, TESTS_FAILED, INTERRUPTED = 1, 3, 8
"""Bazel's exit codes."""
NETWORK = "--remote_default_exec_properties=network=on"

TROUBLE = {
    "trouble/BUILD": """
genrule(name = "fails", outs = ["fails.out"], cmd = "echo made >$@; echo the reason >&2; exit 7")
genrule(name = "folder", outs = ["folder.out"], cmd = "mkdir $@")
sh_test(name = "failing_test", size = "medium", srcs = ["failing_test.sh"])
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
    cmd = "exec 3<>/dev/tcp/127.0.0.1/$(port); echo " + name + " >&3; cat <&3 >$@",
) for name in ["first", "second", "patient", "urgent"]]
genrule(
    name = "asks",
    outs = ["asks.out"],
    cmd = "exec 3<>/dev/tcp/127.0.0.1/$(port); echo asks >&3; cat <&3 >$@",
    exec_properties = {"network": "on"},
)
genrule(
    name = "stubborn",
    outs = ["stubborn.out"],
    cmd = "exec 3<>/dev/tcp/127.0.0.1/$(port); trap '' INT TERM HUP; setsid sleep 3600 & "
        + "echo stubborn >&3; cat <&3; sleep 3600",
)
""",
}


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


@dataclass(frozen=True)
class Guests:
    """Actions that come to a port of this machine's loopback. ``kept`` are their connections."""

    listener: socket.socket
    kept: ExitStack

    @property
    def flag(self) -> str:
        """Tells Bazel the port."""
        return f"--define=port={self.listener.getsockname()[1]}"

    def admit(self, *names: str) -> socket.socket:
        """The connection of the next one, which must be one of these."""
        guest, _ = self.listener.accept()
        self.kept.enter_context(guest)
        guest.settimeout(PATIENCE_S)
        assert guest.recv(100).decode().strip() in names
        return guest


@contextmanager
def visited() -> Iterator[Guests]:
    """A port to come to."""
    with socket.create_server(("127.0.0.1", 0)) as listener, ExitStack() as kept:
        listener.settimeout(PATIENCE_S)
        yield Guests(listener, kept)


@contextmanager
def stages_told_to(stages: queue.SimpleQueue[int], server: Running) -> Iterator[str]:
    """The address of a proxy before the server, which tells of each operation's stages."""

    def hear(method: str, answer: bytes) -> None:
        if method.endswith("/Execute"):
            metadata = re_pb2.ExecuteOperationMetadata()
            operations_pb2.Operation.FromString(answer).metadata.Unpack(metadata)
            stages.put(metadata.stage)

    with token_proxy(server.grpc_address, server.token, hear) as address:
        yield address


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
    settings = ServerSettings(data_dir=str(root / "data"), server_python=sys.executable, slots=2)
    with ExitStack() as stack:
        server = launch(settings, env, print)
        stack.callback(stop, settings, env, kill=True)
        offer = execution_of(server, settings.labels)
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


def test_a_build_that_runs_here_is_served_what_was_executed(shop: Shop, first: Build) -> None:
    flags = caching(shop.executor, shop.server.token)
    cached = shop.workspace.run("cached", "test", *ALL, *flags).must_succeed()
    assert cached.summary == {"remote cache hit": len(first.spawns)}
    assert cached.tree() == first.tree()


def test_what_was_built_here_needn_t_be_executed(shop: Shop, first: Build) -> None:
    shop.workspace.write("left.txt", "hello from here\n")
    flags = caching(shop.executor, shop.server.token)
    here = shop.workspace.run("here", "test", ":all", *flags).must_succeed()
    served = shop.run("served", "test", ":all").must_succeed()
    shop.workspace.write("left.txt", "hello\n")
    assert here.ran == ["both", "both_test", "both_test", "left"]
    assert served.ran == []
    assert served.outputs() == here.outputs()


def test_a_build_without_downloads_executes_what_changed(shop: Shop, first: Build) -> None:
    shop.workspace.write("left.txt", "hello without downloads\n")
    # Neither Bazel takes a symlink as an output then.
    words = ("test", "//:all", "//cpp:all", "--remote_download_minimal")
    minimal = shop.run("minimal", *words).must_succeed()
    shop.workspace.write("left.txt", "hello\n")
    assert minimal.ran == ["both", "both_test", "both_test", "left"]
    assert minimal.summary["remote"] == len(minimal.ran)
    assert minimal.outputs() == {}


def test_a_failing_action_is_explained_and_not_cached(shop: Shop, first: Build) -> None:
    for base in ("fails", "fails-again"):
        failed = shop.run(base, "build", "//trouble:fails")
        assert failed.status == BUILD_FAILED
        assert len(failed.ran) == 1
        assert "(Exit 7)" in failed.log
        assert "the reason" in failed.log


def test_an_output_of_the_wrong_kind_is_named(shop: Shop, first: Build) -> None:
    failed = shop.run("folder", "build", "//trouble:folder")
    assert failed.status == REFUSED
    assert "folder.out' is a directory, but the command declares a file" in failed.log


def test_a_failing_test_and_one_that_takes_too_long_are_told_apart(
    shop: Shop, first: Build
) -> None:
    tests = ("//trouble:failing_test", "//trouble:slow_test")
    # By size: only what is small has so little.
    failed = shop.run("tests", "test", *tests, "--test_timeout=5,300,300,300")
    assert failed.status == TESTS_FAILED
    assert "not today" in failed.log
    assert "so far" in failed.log
    results = dict(re.findall(r"^//trouble:(\w+) +([A-Z]+) in", failed.log, re.MULTILINE))
    assert results == {"failing_test": "FAILED", "slow_test": "TIMEOUT"}


def test_the_network_is_off_unless_the_target_asks_for_it(shop: Shop, first: Build) -> None:
    with visited() as guests:
        words = ("build", "--keep_going", "//visitors:first", "//visitors:asks", guests.flag)
        with shop.workspace.started("without", *words, *shop.flags) as run:
            guests.admit("asks").close()
            build = run.end()
        assert build.status == BUILD_FAILED
        assert build.summary == {"remote": 1}
        assert "Connection refused" in build.log


def test_the_network_is_on_for_all_if_a_flag_says_so(shop: Shop, first: Build) -> None:
    with visited() as guests:
        words = ("build", "//visitors:first", guests.flag, NETWORK)
        with shop.workspace.started("with", *words, *shop.flags) as run:
            guests.admit("first").close()
            assert run.end().must_succeed().summary == {"remote": 1}


def test_ctrl_c_leaves_no_process(shop: Shop, first: Build) -> None:
    with visited() as guests:
        words = ("build", "//visitors:stubborn", guests.flag, NETWORK)
        with shop.workspace.started("stubborn", *words, *shop.flags) as run:
            guest = guests.admit("stubborn")
            run.interrupt()
            assert run.end().status == INTERRUPTED
        assert guest.recv(1) == b"", "a process lives on"


def test_the_lowest_priority_number_goes_first(shop: Shop, first: Build) -> None:
    with ExitStack() as stack:
        guests = stack.enter_context(visited())
        stages: queue.SimpleQueue[int] = queue.SimpleQueue()
        executor = stack.enter_context(stages_told_to(stages, shop.server))

        def start(executor: str, base: str, *words: str) -> Run:
            flags = (guests.flag, NETWORK, *executing(executor, shop.server.token))
            return stack.enter_context(shop.workspace.started(base, "build", *words, *flags))

        runs = [start(shop.executor, "busy", "//visitors:first", "//visitors:second")]
        busy = [guests.admit("first", "second"), guests.admit("first", "second")]
        for name, priority in (("patient", 7), ("urgent", -7)):
            flag = f"--remote_execution_priority={priority}"
            runs.append(start(executor, name, f"//visitors:{name}", flag))
            while stages.get(timeout=PATIENCE_S) != re_pb2.ExecutionStage.QUEUED:
                pass
        busy.pop().close()
        for name in ("urgent", "patient"):
            guests.admit(name).close()
        busy.pop().close()
        for run in runs:
            assert run.end().must_succeed().summary["remote"] > 0
