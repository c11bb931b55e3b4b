"""A sandbox for test cases, and the main function of programs that run cases.

Standard library only, so that the system's Python can run it as another user.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import traceback
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from reapi_local.execute.sandbox.action_paths import CACHES
from reapi_local.execute.sandbox.host.identity import identity_of_actions
from reapi_local.execute.sandbox.host.places import Places
from reapi_local.execute.sandbox.interface import (
    ActionLimits,
    ProcessResult,
    ProcessSpec,
    Sandbox,
    SandboxConfig,
)
from reapi_local.execute.sandbox.slot.slot_sandbox import SlotSandbox
from reapi_local.execute.sandbox.supervised.bubblewrap import BubblewrapSandbox
from reapi_local.execute.sandbox.supervised.process_group import ProcessGroupSandbox

KINDS: Mapping[str, Callable[[SandboxConfig], Sandbox]] = {
    "slots": SlotSandbox,
    "bubblewrap": BubblewrapSandbox,
    "process-group": ProcessGroupSandbox,
}
PATH = "/usr/local/bin:/usr/bin:/bin"


@dataclass(frozen=True)
class Ran:
    """A process result, and the content of its descriptors."""

    process_result: ProcessResult
    stdout: bytes
    stderr: bytes
    files: dict[str, bytes] = field(default_factory=dict)


class Witness:
    """A named pipe that shows whether processes are alive that have it open for writing."""

    def __init__(self, path: Path) -> None:
        os.mkfifo(path)
        os.chmod(path, 0o666)
        self.script = f'exec 9>"{CACHES}/{path.name}"; echo up >&9; '
        self._end = os.open(path, os.O_RDONLY | os.O_NONBLOCK)

    async def sees_it_start(self) -> None:
        readable = asyncio.Event()
        loop = asyncio.get_running_loop()
        loop.add_reader(self._end, readable.set)
        await readable.wait()
        loop.remove_reader(self._end)
        assert os.read(self._end, 3) == b"up\n"

    async def sees_all_end(self) -> None:
        """Wait until no process has it open."""
        loop = asyncio.get_running_loop()
        readable = asyncio.Event()
        loop.add_reader(self._end, readable.set)
        while True:
            await readable.wait()
            readable.clear()
            with suppress(BlockingIOError):
                if not os.read(self._end, 1000):
                    break
        loop.remove_reader(self._end)

    def assert_nothing_lives(self) -> None:
        try:
            assert os.read(self._end, 1000) in (b"", b"up\n")  # b"" = nobody has it open
            assert os.read(self._end, 1000) == b""
        except BlockingIOError:
            raise AssertionError("a process of the action is alive") from None

    def close(self) -> None:
        os.close(self._end)


class Bench:
    """A sandbox and the directories that it uses."""

    def __init__(self, kind: str, directory: Path, hidden: tuple[str, ...] = ()) -> None:
        self.kind, self.directory, self._hidden = kind, directory, hidden
        self.is_isolated = kind != "process-group"
        self.closed_ports: tuple[int, ...] = ()
        self.owner = identity_of_actions().uid if os.getuid() == 0 else None
        self.work, self._layers = directory / "work", directory / "layers"
        self.caches = directory / "caches" / "instance"
        for path in (self.work, self._layers, self.caches):
            path.mkdir(parents=True, exist_ok=True)
        self._give(self.caches)
        self.places = Places()
        self.sandbox = self.make(ActionLimits(scratch_bytes=256 << 20, scratch_inodes=20_000))

    def make(self, limits: ActionLimits) -> Sandbox:
        config = SandboxConfig(
            count=2,
            limits=limits,
            work_dir=str(self.work),
            layers_dir=str(self._layers),
            caches_dir=str(self.caches.parent),
            hidden=(*self._hidden, str(self.directory / "hidden")),
            places=self.places,
            closed_ports=self.closed_ports,
        )
        return KINDS[self.kind](config)

    @asynccontextmanager
    async def showing(self, *paths: Path) -> AsyncIterator[None]:
        """Replace the sandbox with one that has these paths in its setting `show`."""
        self.places = Places(map(str, paths))
        async with self.limited(ActionLimits()):
            yield

    @asynccontextmanager
    async def limited(self, limits: ActionLimits) -> AsyncIterator[None]:
        """Replace the sandbox with one that has these limits."""
        await self.sandbox.close()
        self.sandbox = self.make(limits)
        await self.sandbox.start()
        yield

    def layer(self, files: Mapping[str, str]) -> str:
        """A directory with these files; they belong to the actions' user."""
        layer = self._layers / str(len(list(self._layers.iterdir())))
        layer.mkdir()
        for name, text in files.items():
            path = layer / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        self.give(layer)
        return str(layer)

    def give(self, tree: Path) -> None:
        """Give a tree to the actions' user."""
        for path in (tree, *tree.rglob("*")):
            self._give(path)

    def witness(self) -> Witness:
        return Witness(self.caches / "witness")

    @asynccontextmanager
    async def running(
        self,
        *arguments: str,
        stop: asyncio.Event | None = None,
        environment: Mapping[str, str] | None = None,
        layers: Iterable[str] = (),
        directories: Iterable[str] = (),
        working_directory: str = "",
        network: bool = False,
    ) -> AsyncIterator[ProcessResult]:
        spec = ProcessSpec(
            arguments,
            {"PATH": PATH} if environment is None else environment,
            working_directory,
            tuple(layers),
            tuple(directories),
            network,
            caches=str(self.caches),
        )
        async with self.sandbox.run(spec, stop or asyncio.Event()) as process_result:
            yield process_result

    async def run(self, *arguments: str, reads: Iterable[str] = (), **rest: object) -> Ran:
        """Run a process, and read the files ``reads`` that it left in its input root."""
        async with self.running(*arguments, **rest) as process_result:  # type: ignore[arg-type]
            files = {name: _contents(name, process_result.root_fd) for name in reads}
            return Ran(
                process_result,
                _read_all(process_result.stdout_fd),
                _read_all(process_result.stderr_fd),
                files,
            )

    async def shell(self, script: str, *arguments: str, **rest: object) -> Ran:
        """Run a shell script with the arguments ``$1`` and so on."""
        return await self.run("sh", "-c", script, "sh", *arguments, **rest)  # type: ignore[arg-type]

    def _give(self, path: Path) -> None:
        if self.owner is not None:
            os.chown(path, self.owner, self.owner, follow_symlinks=False)


@asynccontextmanager
async def bench_of(kind: str, directory: Path) -> AsyncIterator[Bench]:
    bench = Bench(kind, directory)
    try:
        await bench.sandbox.start()
        yield bench
    finally:
        await bench.sandbox.close()


def _contents(name: str, root_fd: int) -> bytes:
    with open(os.open(name, os.O_RDONLY, dir_fd=root_fd), "rb") as file:
        return file.read()


def _read_all(descriptor: int) -> bytes:
    return os.pread(descriptor, os.fstat(descriptor).st_size, 0)


def snapshot(tree: str) -> dict[str, tuple[int, int, object]]:
    found: dict[str, tuple[int, int, object]] = {}
    for path in sorted((Path(tree), *Path(tree).rglob("*"))):
        status = path.lstat()
        content = os.readlink(path) if path.is_symlink() else path.is_file() and path.read_bytes()
        found[str(path)] = (status.st_mode, status.st_mtime_ns, content)
    return found


Case = Callable[[Bench], Awaitable[None]]


def cases_in(module: Mapping[str, object]) -> dict[str, Case]:
    """The public coroutines that are defined in ``module``, by name."""
    return {
        name: value
        for name, value in module.items()
        if asyncio.iscoroutinefunction(value)
        and value.__module__ == module["__name__"]
        and not name.startswith("_")
    }


async def _run(case: Case, kind: str, directory: str) -> None:
    async with bench_of(kind, Path(directory)) as bench:
        await case(bench)


def run_cases(cases: Mapping[str, Case]) -> None:
    """The main function of programs of cases. Arguments: kind of sandbox, case, directory.

    With no case and no directory it runs those that come on standard input, one a line, as a JSON
    list of both. It answers each with the traceback of its failure, or nothing, as a JSON text.
    """
    kind, *one = sys.argv[1:]
    if one:
        case, directory = one
        asyncio.run(_run(cases[case], kind, directory))
        return
    answers = open(os.dup(1), "w", encoding="utf-8", buffering=1)  # noqa: SIM115 - until the end
    os.dup2(2, 1)
    for line in sys.stdin:
        case, directory = json.loads(line)
        os.environ["HOME"] = f"{directory}/home"
        failure = ""
        try:
            asyncio.run(_run(cases[case], kind, directory))
        except Exception:
            failure = traceback.format_exc()
        print(json.dumps(failure), file=answers)
