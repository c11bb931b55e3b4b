"""Names the concrete classes of execution and stacks them, if a sandbox works here."""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

from reapi_local.clock import Clock
from reapi_local.compose.ports import is_loopback
from reapi_local.config.schema import Config
from reapi_local.errors import Unsupported
from reapi_local.execute.deletion import remove_tree
from reapi_local.execute.local.engine import Engine
from reapi_local.execute.local.inputs.input_roots import InputRoots
from reapi_local.execute.local.job import ActionResolver, Policy
from reapi_local.execute.local.runner import Runner
from reapi_local.execute.queue.scheduler import Scheduler
from reapi_local.execute.sandbox.choose import Chosen, choose
from reapi_local.execute.sandbox.host.identity import ACTION_UID
from reapi_local.execute.sandbox.interface import CACHES, ActionLimits, Sandbox, SandboxConfig
from reapi_local.execute.sandbox.slot.slot_sandbox import SlotSandbox
from reapi_local.execute.sandbox.supervised.bubblewrap import BubblewrapSandbox
from reapi_local.execute.sandbox.supervised.process_group import ProcessGroupSandbox
from reapi_local.observe.tally import Tally
from reapi_local.store.types import ActionCache, BlobStore
from reapi_local.threads import in_thread

_log = logging.getLogger(__name__)
_MAX_SCRATCH_BYTES: Final = 16 * 1024**3
_STORING: Final = 2
"""Actions whose outputs are stored while others run in all slots."""


@dataclass(frozen=True)
class _Parts:
    engine: Engine
    input_roots: InputRoots


class Execution:
    """Execution of actions within one server, an :class:`~reapi_local.execute.offer.Offer`."""

    def __init__(
        self, config: Config, blobs: BlobStore, results: ActionCache, clock: Clock, tally: Tally
    ) -> None:
        self._config, self._settings = config, config.execution
        self._blobs, self._results, self._clock = blobs, results, clock
        self._tally = tally
        self.slots = self._settings.slots or _cores()
        self._chosen = Chosen(None, "", (_OFF,))
        self._parts: _Parts | None = None
        self._trying: asyncio.Task[None] | None = None

    def begin(self) -> None:
        """Try sandboxes in the background; who asks meanwhile waits."""
        wanted, is_local = self._settings.execution, is_loopback(self._config.host)
        if wanted == "on" or (wanted == "auto" and is_local):
            self._trying = asyncio.create_task(self._try())
        elif wanted == "auto":
            self._chosen = Chosen(None, "", (_NOT_FOR_STRANGERS,))

    async def engine(self) -> Engine:
        if self._trying is not None:
            await asyncio.shield(self._trying)
        if self._parts is None:
            raise Unsupported(f"this server executes no actions: {' '.join(self._chosen.reasons)}")
        return self._parts.engine

    async def is_made(self) -> bool:
        try:
            await self.engine()
        except Unsupported:
            return False
        return True

    async def describe(self) -> dict[str, Any]:
        """What people and plugins are told of it."""
        offered = await self.is_made()
        sandbox, level = self._chosen.sandbox, self._chosen.level
        contained = offered and level != "process-group"
        return {
            "offered": offered,
            "sandbox": level if offered else "",
            "slots": self.slots,
            "executing": self._parts.engine.executing if self._parts else 0,
            "caches": CACHES if contained else "",
            "hermetic": self._settings.hermetic,
            "notes": list(sandbox.notes) if sandbox is not None else [],
            "reasons": list(self._chosen.reasons),
        }

    def drain(self) -> None:
        """Start nothing more; what executes goes on."""
        if self._parts is not None:
            self._parts.engine.drain()

    async def close(self) -> None:
        """End what executes, and the sandboxes."""
        if self._trying is not None:
            self._trying.cancel()
            await asyncio.wait([self._trying])
        if self._parts is not None:
            await self._parts.engine.close()
            await self._parts.input_roots.close()
        if self._chosen.sandbox is not None:
            await self._chosen.sandbox.close()

    async def _try(self) -> None:
        try:
            self._chosen = await self._choose()
            if self._chosen.sandbox is not None:
                self._parts = self._assemble(self._chosen)
                _log.info("actions are executed: %s, %d at once", self._chosen.level, self.slots)
        except Exception as error:
            _log.exception("execution could not be set up")
            self._chosen = Chosen(None, "", (f"Setting it up failed: {error}.",))

    async def _choose(self) -> Chosen:
        work_dir = self._directory("sandbox")
        with suppress(OSError):  # mounts of a server that was killed, which their sandbox removes
            await in_thread(remove_tree, work_dir)
        config = SandboxConfig(
            count=self.slots + _STORING,
            limits=_limits(self._config, self.slots + _STORING),
            work_dir=self._directory("sandbox"),
            layers_dir=self._directory("inputs"),
            caches_dir=self._directory("caches"),
            hidden=(self._config.data_dir,),
            action_uid=ACTION_UID,
        )
        kinds: dict[str, Callable[[SandboxConfig], Sandbox]] = {
            "slots": SlotSandbox,
            "bubblewrap": BubblewrapSandbox,
            "process-group": ProcessGroupSandbox,
        }
        make = {name: partial(kind, config) for name, kind in kinds.items()}
        return await choose(self._settings.sandbox, make)

    def _assemble(self, chosen: Chosen) -> _Parts:
        sandbox, settings = chosen.sandbox, self._settings
        assert sandbox is not None
        owner = ACTION_UID if os.getuid() == 0 else None
        roots = InputRoots(self._blobs, self._directory("inputs"), settings.input_cache, owner)
        policy = Policy(
            default_timeout=settings.action_timeout,
            longest_timeout=settings.max_action_timeout,
            hermetic=settings.hermetic,
            shares_host=is_loopback(self._config.host),
        )
        preparation = ActionResolver(
            self._blobs, roots, sandbox, policy, self._directory("caches"), owner
        )
        runner = Runner(sandbox, roots, self._blobs, self._results, self._clock)
        scheduler = Scheduler(self.slots, max_storing=_STORING, grace_seconds=settings.watch_grace)
        engine = Engine(
            scheduler, preparation, runner, self._results, self._blobs, self._clock, self._tally
        )
        return _Parts(engine, roots)

    def _directory(self, name: str) -> str:
        path = os.path.join(self._config.data_dir, name)
        os.makedirs(path, exist_ok=True)
        # Open to actions, which have another uid where the server is root's; the data directory
        # above it keeps everybody else out.
        os.chmod(path, 0o755)
        return path


_OFF: Final = "It is switched off by the setting execution; `execution = on` switches it on."
_NOT_FOR_STRANGERS: Final = (
    "The server listens on more than this machine's loopback; `execution = on` allows all who have "
    "its token to run programs here."
)


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _limits(config: Config, actions: int) -> ActionLimits:
    """The scratch space is memory: by default so many actions together may fill half of it."""
    limits = config.limits
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    share = min(memory // (2 * actions), _MAX_SCRATCH_BYTES)
    return ActionLimits(
        scratch_bytes=limits.scratch_size or share,
        scratch_inodes=limits.scratch_inodes,
        memory_bytes=limits.action_memory,
        processes=limits.action_processes,
        cpu_seconds=limits.action_cpu_seconds,
        file_bytes=limits.action_file_size,
    )
