"""Real Bazel on a workspace made for a test: no network, no repository from outside."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import uuid
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import pytest

from patience import PATIENCE_S

INSTANCE = "a/bazel"
LARGE = "".join(f"{number}\n" for number in range(1, 500_001)).encode()
"""What `seq 500000` prints: 3.4 MB, over what a batch may hold."""

FILES = {
    # Bazel asks for it wherever there is a test, and would fetch it.
    "WORKSPACE": 'local_repository(name = "remote_coverage_tools", path = "coverage")\n',
    "coverage/WORKSPACE": "",
    "coverage/BUILD": """
filegroup(name = "coverage_report_generator", visibility = ["//visibility:public"])
filegroup(name = "lcov_merger", visibility = ["//visibility:public"])
""",
    "rules.bzl": """
def _folder(ctx):
    out = ctx.actions.declare_directory(ctx.label.name)
    ctx.actions.run_shell(
        outputs = [out],
        inputs = [ctx.file.src],
        command = "mkdir -p $1/deep/er; cp $2 $1/deep/er/copy; cp $2 $1/top",
        arguments = [out.path, ctx.file.src.path],
        progress_message = "Making //:folder",
    )
    return [DefaultInfo(files = depset([out]))]

folder = rule(_folder, attrs = {"src": attr.label(allow_single_file = True)})

# sh_test needs tools for C++ and Java, whose repositories Bazel would fetch.
def _script_test(ctx):
    script = ctx.actions.declare_file(ctx.label.name)
    ctx.actions.write(script, "#!/bin/sh\\n" + ctx.attr.script, is_executable = True)
    return [DefaultInfo(executable = script, runfiles = ctx.runfiles(ctx.files.data))]

script_test = rule(
    _script_test,
    test = True,
    attrs = {"script": attr.string(), "data": attr.label_list(allow_files = True)},
)
""",
    "BUILD": """
load(":rules.bzl", "folder", "script_test")
genrule(name = "left", srcs = ["left.txt"], outs = ["left.out"], cmd = "tr a-z A-Z <$< >$@")
genrule(name = "right", srcs = ["right.txt"], outs = ["right.out"], cmd = "rev <$< >$@")
genrule(
    name = "both",
    srcs = ["left.out", "right.out"],
    outs = ["both.out"],
    cmd = "cat $(SRCS) >$@",
)
genrule(name = "large", outs = ["large.out"], cmd = "seq 500000 >$@")
folder(name = "folder", src = "right.txt")
script_test(name = "both_test", size = "small", data = ["both.out"], script = "grep HELLO both.out")
script_test(
    name = "folder_test",
    size = "small",
    data = [":folder", "large.out"],
    script = "grep world folder/deep/er/copy && grep -x 500000 large.out",
)
""",
    "left.txt": "hello\n",
    "right.txt": "world\n",
}
TARGETS = {"left", "right", "both", "large", "folder", "both_test", "folder_test"}

_SUMMARY = re.compile(r"^INFO: \d+ process(?:es)?: (.+)\.$", re.MULTILINE)


def find_bazel(variable: str, fallback: str) -> Path:
    """The program an environment variable names, else `fallback` on PATH.

    Where there is none, the test is skipped, or fails if $CI is set.
    """
    found = shutil.which(os.environ.get(variable) or fallback)
    if found is None:
        (pytest.fail if os.environ.get("CI") else pytest.skip)(
            f"no Bazel to test with: neither ${variable} nor `{fallback}` names a program"
        )
    return Path(found)


@dataclass(frozen=True)
class Spawn:
    """A process of a build, by the target it was for; a test has two: itself and its report."""

    target: str
    is_hit: bool


@dataclass(frozen=True)
class Build:
    """What a run of Bazel came to. ``bin`` is where its outputs are."""

    status: int
    log: str
    invocation: str
    spawns: tuple[Spawn, ...]
    bin: Path

    @property
    def summary(self) -> dict[str, int]:
        """How many processes ran how, as Bazel's last lines say; without its own."""
        found = _SUMMARY.search(self.log)
        assert found, self.log
        parts = (part.split(" ", 1) for part in found[1].split(", "))
        return {how: int(count) for count, how in parts if how != "internal"}

    @property
    def ran(self) -> list[str]:
        """The targets of the processes that were no hits, sorted."""
        return sorted(spawn.target for spawn in self.spawns if not spawn.is_hit)

    def outputs(self) -> dict[str, bytes]:
        """Contents by path, those of output directories too."""
        paths = [*self.bin.glob("*.out"), *self.bin.glob("folder/**/*")]
        return {
            str(path.relative_to(self.bin)): path.read_bytes() for path in paths if path.is_file()
        }

    def tree(self) -> dict[str, bytes]:
        """All it made, by path: of a file its content, of a symlink where it leads to.

        Nothing in there tells which output base it was.
        """
        output_base = os.fsencode(self.bin.parents[4])
        made: dict[str, bytes] = {}
        for path in self.bin.rglob("*"):
            if path.is_symlink():
                content = b"-> " + os.fsencode(os.readlink(path))
            elif path.is_file():
                content = path.read_bytes()
            else:
                continue
            made[str(path.relative_to(self.bin))] = content.replace(output_base, b"")
        return made

    def must_succeed(self) -> Build:
        assert self.status == 0, self.log
        return self


class Workspace:
    """A workspace, and Bazel with a home of its own. Every run starts and ends its own process."""

    def __init__(self, root: Path, program: Path) -> None:
        self.root, self._program = root, program
        self._workspace = root / "workspace"
        for name, content in FILES.items():
            self.write(name, content)

    def write(self, name: str, content: str) -> None:
        path = self._workspace / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
        if content.startswith("#!"):
            path.chmod(0o755)

    def test(self, base: str, cache: str, token: str, *flags: str) -> Build:
        """Build and test everything here, and keep the results on the server."""
        return self.run(base, "test", ":all", *caching(cache, token), *flags)

    def run(self, base: str, *words: str) -> Build:
        """A command in the output base of this name, which is empty at its first use."""
        with self.started(base, *words) as run:
            return run.end()

    @contextmanager
    def started(self, base: str, *words: str) -> Iterator[Run]:
        """Like :meth:`run`, for those who do something while it runs."""
        output_base, invocation = self.root / base, str(uuid.uuid4())
        spawns = self.root / f"{invocation}.json"
        command = [
            # Debian's needs the system's settings; the user's don't matter.
            *(self._program, "--batch", "--nohome_rc", "--noworkspace_rc"),
            *(f"--output_base={output_base}", "--host_jvm_args=-Xmx512m"),
            # Half the time for runs as short as these.
            *("--host_jvm_args=-XX:TieredStopAtLevel=1", "--host_jvm_args=-XX:+UseSerialGC"),
            *(*words, f"--invocation_id={invocation}", f"--execution_log_json_file={spawns}"),
            *("--symlink_prefix=/", "--color=no", "--curses=no", "--noshow_progress"),
            "--test_output=errors",
        ]
        process = subprocess.Popen(
            [str(word) for word in command],
            cwd=self._workspace,
            env={"HOME": str(self.root), "PATH": os.environ["PATH"]},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        with process:
            try:
                yield Run(process, invocation, output_base, spawns)
            except BaseException:
                with suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
                raise


@dataclass(frozen=True)
class Run:
    """A run of Bazel under way."""

    process: subprocess.Popen[str]
    invocation: str
    output_base: Path
    spawns: Path

    def interrupt(self) -> None:
        """What Ctrl-C does."""
        self.process.send_signal(signal.SIGINT)

    def end(self) -> Build:
        """What it has come to, once it has."""
        log, _ = self.process.communicate(timeout=PATIENCE_S)
        bins = list(self.output_base.glob("execroot/*/bazel-out/*-fastbuild/bin"))
        return Build(
            self.process.returncode,
            log,
            self.invocation,
            _read_spawns(self.spawns),
            bins[0] if bins else Path(),
        )


def caching(cache: str, token: str) -> list[str]:
    """Flags for a build that runs here and keeps its results on a server."""
    return [f"--remote_cache={cache}", "--spawn_strategy=local", *_known_by(token)]


def executing(executor: str, token: str) -> list[str]:
    """Flags for a build that runs on a server."""
    return [f"--remote_executor={executor}", "--spawn_strategy=remote", *_known_by(token)]


def _known_by(token: str) -> list[str]:
    return [
        f"--remote_instance_name={INSTANCE}",
        f"--remote_header=authorization=Bearer {token}",
    ]


def _read_spawns(path: Path) -> tuple[Spawn, ...]:
    """From Bazel's execution log, JSON objects one after another."""
    text = path.read_text() if path.exists() else ""
    joined = re.sub("^}{", "},{", text, flags=re.MULTILINE)
    objects: list[dict[str, Any]] = json.loads(f"[{joined}]")
    return tuple(
        Spawn(entry["progressMessage"].rpartition("//:")[2], entry["remoteCacheHit"])
        for entry in objects
    )


@contextmanager
def token_proxy(
    target: str, token: str, heard: Callable[[str, bytes], None] = lambda _method, _answer: None
) -> Iterator[str]:
    """The address of a proxy that adds the token to every call, as one in front of a server may.

    For Bazel 2.1, which has --remote_header but sends it neither with GetCapabilities nor with
    ByteStream.Write. ``heard`` gets each answer, and the method that was called.
    """
    with grpc.insecure_channel(target.removeprefix("grpc://")) as channel:
        # Every upload and download under way holds a thread.
        threads = ThreadPoolExecutor(64)
        server = grpc.server(threads, handlers=[_Forwarding(channel, token, heard)])
        port = server.add_insecure_port("127.0.0.1:0")
        server.start()
        try:
            yield f"grpc://127.0.0.1:{port}"
        finally:
            server.stop(None).wait()


class _Forwarding(grpc.GenericRpcHandler):  # type: ignore[type-arg]  # generic in its stubs alone
    """Passes on the bytes of any call as they are."""

    def __init__(
        self, channel: grpc.Channel, token: str, heard: Callable[[str, bytes], None]
    ) -> None:
        self._channel, self._heard = channel, heard
        self._authorization = ("authorization", f"Bearer {token}")

    def service(self, handler_call_details: Any) -> Any:
        method = handler_call_details.method
        call: Any = self._channel.stream_stream(method, None, None)
        headers = [
            (name, value)
            for name, value in handler_call_details.invocation_metadata
            if name.endswith("-bin")
        ]

        def forward(requests: Iterable[bytes], context: grpc.ServicerContext) -> Iterator[bytes]:
            try:
                answers = call(requests, metadata=[*headers, self._authorization])
                context.add_callback(answers.cancel)  # when the client goes away
                for answer in answers:
                    self._heard(method, answer)
                    yield answer
            except grpc.RpcError as error:
                context.abort(error.code(), error.details() or "")

        return grpc.stream_stream_rpc_method_handler(forward)
