"""Slot sandboxes for tests: in this process, and in a process of an ordinary user."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Protocol

import pytest

from execute.slot_driver import Seen, seen
from reapi_local.execute.sandbox.host.identity import ACTION_UID
from reapi_local.execute.sandbox.interface import (
    ActionLimits,
    ProcessSpec,
    SandboxConfig,
    SandboxError,
)
from reapi_local.execute.sandbox.slot.slot_sandbox import SlotSandbox

PATH = {"PATH": "/usr/local/bin:/usr/bin:/bin"}
ORDINARY_USER = 54321
DRIVER = Path(__file__).with_name("slot_driver.py")
SOURCES = Path(__file__).resolve().parents[2] / "src"

Files = Mapping[str, str | tuple[str, int]]
"""By path: content, or content and mode. A path that ends in "/" is an empty directory, a content
that starts with "-> " the target of a symbolic link."""


@dataclass(frozen=True)
class SandboxDirectories:
    """The directories of a SandboxConfig."""

    base: Path
    owner: int
    hidden: tuple[str, ...] = field(default=())

    @property
    def arguments(self) -> dict[str, Any]:
        return {
            "work_dir": str(self.base / "work"),
            "layers_dir": str(self.base / "layers"),
            "caches_dir": str(self.base / "caches"),
            "hidden": self.hidden,
        }

    def layer(self, name: str, files: Files) -> str:
        """A directory with these files; they belong to the actions' user."""
        layer = self.base / "layers" / name
        layer.mkdir()
        for path, content in files.items():
            text, mode = content if isinstance(content, tuple) else (content, 0o644)
            target = layer / path
            target.parent.mkdir(parents=True, exist_ok=True)
            if path.endswith("/"):
                target.mkdir(exist_ok=True)
            elif text.startswith("-> "):
                target.symlink_to(text.removeprefix("-> "))
            else:
                target.write_text(text)
                target.chmod(mode)
        self.give_away(layer)
        return str(layer)

    def cache(self, name: str) -> str:
        cache = self.base / "caches" / name
        cache.mkdir()
        self.give_away(cache)
        return str(cache)

    def give_away(self, top: Path) -> None:
        if os.getuid() == 0:
            for directory, _, names in os.walk(top):
                for path in (directory, *(os.path.join(directory, name) for name in names)):
                    os.chown(path, self.owner, self.owner, follow_symlinks=False)


class Box(Protocol):
    """A sandbox that takes fields of a ProcessSpec and returns the content of the result."""

    directories: SandboxDirectories

    async def run(self, *arguments: str, files: tuple[str, ...] = (), **spec: Any) -> Seen:
        """Run a process; without ``environment`` it has only PATH."""


class OwnBox:
    """A sandbox in this process, of the user who runs the tests."""

    def __init__(self, directories: SandboxDirectories, sandbox: SlotSandbox) -> None:
        self.directories = directories
        self.sandbox = sandbox

    async def run(
        self,
        *arguments: str,
        files: tuple[str, ...] = (),
        stop: asyncio.Event | None = None,
        **spec: Any,
    ) -> Seen:
        wanted = ProcessSpec(arguments, spec.pop("environment", PATH), **spec)
        async with self.sandbox.run(wanted, stop or asyncio.Event()) as process_result:
            return seen(process_result, files)


class OtherBox:
    """A sandbox in a process of an ordinary user."""

    def __init__(
        self, directories: SandboxDirectories, process: asyncio.subprocess.Process
    ) -> None:
        self.directories = directories
        self._process = process

    async def run(self, *arguments: str, files: tuple[str, ...] = (), **spec: Any) -> Seen:
        environment = spec.pop("environment", PATH)
        wanted = {"arguments": arguments, "environment": environment, **spec}
        answer = await self.ask({"spec": wanted, "files": files})
        return Seen(**{**answer, "limits_exceeded": tuple(answer["limits_exceeded"])})

    async def ask(self, request: dict[str, Any]) -> dict[str, Any]:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(request).encode() + b"\n")
        answer: dict[str, Any] = json.loads(await self._process.stdout.readline())
        if "broken" in answer:
            raise SandboxError(answer["broken"])
        return answer


@contextmanager
def make_directories(
    owner: int, hidden: tuple[str, ...] = (), base: Path | None = None
) -> Iterator[SandboxDirectories]:
    """In ``base``, or a new directory that, unlike pytest's, other users can search."""
    made = base or Path(tempfile.mkdtemp(prefix="reapi-local-test-"))
    try:
        made.chmod(0o755)
        for name in ("work", "layers", "caches"):
            (made / name).mkdir()
        yield SandboxDirectories(made, owner, hidden)
    finally:
        if base is None:
            shutil.rmtree(made)


@contextmanager
def visible_directory(owner: int) -> Iterator[Path]:
    """A new directory that actions see at its path on the host, so not in /tmp."""
    parents = ("/opt", "/srv", "/var/lib", str(Path.home()))
    parent = next((parent for parent in parents if os.access(parent, os.W_OK)), None)
    if parent is None:
        pytest.skip("no directory outside /tmp can be written")
    made = Path(tempfile.mkdtemp(prefix="reapi-local-test-", dir=parent))
    try:
        made.chmod(0o755)
        if os.getuid() == 0:
            os.chown(made, owner, owner)
        yield made
    finally:
        shutil.rmtree(made)


@asynccontextmanager
async def own_box(
    *,
    count: int = 2,
    limits: ActionLimits | None = None,
    hidden: tuple[str, ...] = (),
    base: Path | None = None,
) -> AsyncIterator[OwnBox]:
    """A sandbox of this user. Skips the test if slots don't work, with the reason."""
    owner = ACTION_UID if os.getuid() == 0 else os.getuid()
    with make_directories(owner, hidden, base) as directories:
        config = SandboxConfig(
            count=count, limits=limits or ActionLimits(), **directories.arguments
        )
        sandbox = SlotSandbox(config)
        try:
            await sandbox.start()
        except SandboxError as sandbox_error:
            pytest.skip(str(sandbox_error))
        try:
            yield OwnBox(directories, sandbox)
        finally:
            await sandbox.close()


@asynccontextmanager
async def other_box(
    *,
    limits: ActionLimits | None = None,
    hidden: tuple[str, ...] = (),
    environment: Mapping[str, str] | None = None,
) -> AsyncIterator[OtherBox]:
    """A sandbox of an ordinary user. Skips the test unless root runs it."""
    if os.getuid() != 0:
        pytest.skip("only root can run a server as another user")
    python = _python_for(ORDINARY_USER)
    with make_directories(ORDINARY_USER, hidden) as directories:
        directories.give_away(directories.base)
        settings = {"count": 2, "limits": asdict(limits or ActionLimits()), **directories.arguments}
        process = await asyncio.create_subprocess_exec(
            *(python, str(DRIVER), json.dumps(settings)),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            user=ORDINARY_USER,
            group=ORDINARY_USER,
            extra_groups=[],
            env={
                "HOME": str(directories.base),
                "PYTHONDONTWRITEBYTECODE": "1",
                "PYTHONPATH": str(SOURCES),
                **(environment or {}),
            },
            cwd="/",
            limit=128 * 1024 * 1024,
        )
        assert process.stdin is not None
        try:
            box = OtherBox(directories, process)
            try:
                await box.ask({"start": True})
            except SandboxError as sandbox_error:
                pytest.skip(str(sandbox_error))
            yield box
        finally:
            process.stdin.close()
            await process.wait()


async def refusal(*wrapper: str, user: int = ORDINARY_USER) -> str:
    """The error of a sandbox that can't start because its server is started by ``wrapper``."""
    if os.getuid() != 0:
        pytest.skip("only root can start a server in such circumstances")
    with make_directories(user) as directories:
        directories.give_away(directories.base)
        settings = {"count": 1, "limits": {}, **directories.arguments}
        process = await asyncio.create_subprocess_exec(
            *(*wrapper, _python_for(user), str(DRIVER), json.dumps(settings)),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env={"PYTHONDONTWRITEBYTECODE": "1", "PYTHONPATH": str(SOURCES), **PATH},
            cwd="/",
        )
        answer, stderr_log = await process.communicate(b'{"start": true}\n')
    if not answer:
        pytest.skip(f"{wrapper[0]} can't: {stderr_log.decode()}")
    message: str = json.loads(answer)["broken"]
    return message


def _python_for(user: int) -> str:
    """A Python that this user can execute; ours may be in a closed home."""
    for python in (sys.executable, "/usr/bin/python3"):
        check = (python, "-c", "import sys; sys.exit(sys.version_info < (3, 11))")
        try:
            done = subprocess.run(
                check, check=False, user=user, group=user, extra_groups=[], cwd="/"
            )
        except OSError:
            continue
        if done.returncode == 0:
            return python
    pytest.skip("no Python 3.11 or later that an ordinary user may run")
