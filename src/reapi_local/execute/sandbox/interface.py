"""The contract between what decides about an action and what runs its process."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from typing import Final, Protocol

INPUT_ROOT: Final = "/reapi/root"
"""Where every action finds its input root: one path, so that outputs can't depend on another."""

HOME: Final = "/reapi/home"
"""An empty, writable home directory of the action's own."""

CACHES: Final = "/reapi/caches"
"""The instance's named caches, which its actions share."""


@dataclass(frozen=True)
class ActionLimits:
    """What one action may use; 0 = as much as there is.

    ``scratch_bytes`` and ``scratch_inodes`` hold for everything it writes: below its input root,
    in its home, in /tmp, to standard output and error.
    """

    scratch_bytes: int = 4 * 1024**3
    scratch_inodes: int = 1_000_000
    memory_bytes: int = 0
    processes: int = 4096
    cpu_seconds: int = 0
    file_bytes: int = 0


@dataclass(frozen=True)
class SandboxConfig:
    """What a sandbox is made from. Paths are of the host, and absolute.

    ``count``: actions at once. ``work_dir``: an empty directory of the server's. All
    ``ProcessSpec.layers`` are below ``layers_dir``, all ``ProcessSpec.caches`` below
    ``caches_dir``; both are searchable for the user of the actions, however closed the
    directories above. ``hidden``: what no action may see, besides these three. ``user``: the uid
    of actions if the server is root's, None = the usual one.
    """

    count: int
    limits: ActionLimits
    work_dir: str
    layers_dir: str
    caches_dir: str
    hidden: tuple[str, ...] = ()
    user: int | None = None

    @property
    def all_hidden(self) -> tuple[str, ...]:
        return (*self.hidden, self.work_dir, self.layers_dir, self.caches_dir)


@dataclass(frozen=True)
class ProcessSpec:
    """A process to run.

    ``arguments[0]`` is a path (absolute, or relative to the working directory) or a bare name to
    be found on ``environment["PATH"]``. ``working_directory`` is relative to the input root, "" =
    the root itself. ``layers`` are directories, absolute on the host, whose union is the input
    root; no two hold the same file. ``directories`` are made beforehand, relative to the input
    root. ``network``: as on the host, else none but loopback. ``caches``: the host's directory
    to mount at :data:`CACHES`, None = none.
    """

    arguments: tuple[str, ...]
    environment: Mapping[str, str]
    working_directory: str = ""
    layers: tuple[str, ...] = ()
    directories: tuple[str, ...] = ()
    network: bool = False
    caches: str | None = None


@dataclass(frozen=True)
class ProcessResult:
    """What became of a process; nothing of it, or of what it started, runs any more.

    ``exit_code`` is 128 + N for one that signal N ended; 126 or 127 where it could not be started,
    and then ``problem`` says why. ``stopped``: it was killed because ``stop`` was set.
    ``limits_exceeded``: limits it ran into, in words for its user. The descriptors are the
    sandbox's, for as long as it is entered: ``root_fd`` the directory of the input root as the
    process left it, ``stdout_fd`` and ``stderr_fd`` files to be read from offset 0. Times are in
    nanoseconds since the epoch, the rest in seconds and bytes.
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


class SandboxError(Exception):
    """The sandbox itself failed, not the action: the action may be tried again."""


class Sandbox(Protocol):
    """One way to run processes."""

    @property
    def root(self) -> str:
        """The absolute path of the input root as the process sees it."""

    @property
    def notes(self) -> tuple[str, ...]:
        """Sentences on what of the limits asked for can't be kept on this machine."""

    async def start(self) -> None:
        """Make ready for the first action.

        Raises:
            SandboxError: it doesn't work on this machine; the message says why.
        """

    async def close(self) -> None:
        """Kill what still runs and leave nothing behind."""

    def run(
        self, spec: ProcessSpec, stop: asyncio.Event
    ) -> AbstractAsyncContextManager[ProcessResult]:
        """Run the process to its end, or until ``stop`` is set.

        On entering it has ended; what it left is there until the block is left. A cancelled caller
        leaves no process behind.

        Raises (on entering):
            SandboxError: the sandbox failed.
        """
