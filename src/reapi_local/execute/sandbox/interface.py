"""The contract of sandboxes: the process to run, its limits and its result."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from typing import Protocol


@dataclass(frozen=True)
class ActionLimits:
    """What one action may use; 0 means no limit.

    ``scratch_bytes`` and ``scratch_inodes`` count everything the action writes: below its input
    root, in its home, in /tmp, to standard output and error.
    """

    scratch_bytes: int = 4 * 1024**3
    scratch_inodes: int = 1_000_000
    memory_bytes: int = 0
    processes: int = 4096
    cpu_seconds: int = 0
    file_bytes: int = 0


class NamedPlaces(Protocol):
    """What users named to be shown to actions. ``generation`` grows when something was added."""

    @property
    def generation(self) -> int: ...

    @property
    def shown(self) -> tuple[str, ...]:
        """Absolute paths of files and directories."""

    @property
    def repositories(self) -> dict[str, int]:
        """Repositories of clients, with the generation in which each was named last."""

    @property
    def tools(self) -> tuple[str, ...]:
        """Directories of programs that processes of clients name."""


@dataclass(frozen=True)
class SandboxConfig:
    """What a sandbox is configured with. All paths are absolute paths on the host.

    Args:
        count: how many actions run at the same time, at most.
        work_dir: an empty directory that belongs to the server.
        layers_dir: contains all ``ProcessSpec.layers``.
        caches_dir: contains all ``ProcessSpec.caches``.
        hidden: what no action may see, in addition to these three directories.
        places: what users named to be shown.
        closed_ports: TCP ports of the server itself, which no action may connect or bind to.
        action_uid: the uid of actions if the server runs as root; None is the default uid.

    The actions' user has execute permission on ``layers_dir`` and ``caches_dir``, but perhaps not
    on their parent directories.
    """

    count: int
    limits: ActionLimits
    work_dir: str
    layers_dir: str
    caches_dir: str
    hidden: tuple[str, ...] = ()
    places: NamedPlaces | None = None
    closed_ports: tuple[int, ...] = ()
    action_uid: int | None = None

    @property
    def all_hidden(self) -> tuple[str, ...]:
        return (*self.hidden, self.work_dir, self.layers_dir, self.caches_dir)


@dataclass(frozen=True)
class ProcessSpec:
    """A process to run.

    Args:
        arguments: the first one is a path (absolute, or relative to the working directory), or a
            bare name that is searched for on ``environment["PATH"]``.
        environment: all variables of the process.
        working_directory: relative to the input root; "" is the root itself.
        layers: directories, absolute on the host, whose union is the input root. No file is in
            two of them.
        directories: created before the process starts, relative to the input root.
        network: True gives the host's network, False only a private loopback interface.
        caches: the host directory to mount at ``action_paths.CACHES``, or None.
        terminal: the descriptor of a terminal that is to be its standard input, output and error,
            and its controlling terminal; None = no input, and output is saved.
    """

    arguments: tuple[str, ...]
    environment: Mapping[str, str]
    working_directory: str = ""
    layers: tuple[str, ...] = ()
    directories: tuple[str, ...] = ()
    network: bool = False
    caches: str | None = None
    terminal: int | None = None


@dataclass(frozen=True)
class ProcessResult:
    """How a process ended. It and all its descendants have exited.

    Args:
        exit_code: 128 + N if signal N killed it; 126 or 127 if it could not be started, and
            ``problem`` then tells why.
        root_fd: the directory of the input root as the process left it.
        stdout_fd, stderr_fd: files with its output, to be read from offset 0.
        started_ns, ended_ns: nanoseconds since the epoch.
        stopped: it was killed because ``stop`` was set.
        limits_exceeded: one sentence for each limit it exceeded, for its user.
        not_shown: a sentence for its user about a path that it named and couldn't see, or "".

    The sandbox owns the descriptors and closes them when the block of ``run`` is left.
    """

    exit_code: int
    root_fd: int
    stdout_fd: int
    stderr_fd: int
    started_ns: int
    ended_ns: int
    problem: str = ""
    stopped: bool = False
    limits_exceeded: tuple[str, ...] = field(default=())
    user_seconds: float = 0.0
    system_seconds: float = 0.0
    max_rss_bytes: int = 0
    not_shown: str = ""


class SandboxError(Exception):
    """The sandbox failed, not the action. The action can be retried."""


class StepError(SandboxError):
    """A sandbox failed at ``step``; ``errno`` is 0 if no system call failed."""

    def __init__(self, step: str, errno: int, problem: str) -> None:
        super().__init__(f"the sandbox failed ({step}): {problem}")
        self.step = step
        self.errno = errno
        self.problem = problem


class Sandbox(Protocol):
    """One way to run processes in isolation."""

    @property
    def root(self) -> str:
        """The absolute path of the input root as the process sees it."""

    @property
    def notes(self) -> tuple[str, ...]:
        """One sentence for each configured limit that can't be enforced on this machine."""

    async def start(self) -> None:
        """Prepare for the first action.

        Raises:
            SandboxError: it doesn't work on this machine; the message tells why.
        """

    async def close(self) -> None:
        """Kill all running processes and remove all temporary files."""

    def run(
        self, spec: ProcessSpec, stop: asyncio.Event
    ) -> AbstractAsyncContextManager[ProcessResult]:
        """Run the process until it ends or ``stop`` is set.

        The block is entered when the process has ended. Its files stay until the block is left.
        If the caller is cancelled, the process is killed.

        Raises (on entering):
            SandboxError: the sandbox failed.
        """
