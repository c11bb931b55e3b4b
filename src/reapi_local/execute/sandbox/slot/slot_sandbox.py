"""The sandbox that costs least: slots, small processes kept ready with everything set up.

For what a slot is see ``slot``, for what an action sees of the host ``host_view``.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections import deque
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Final

from reapi_local.execute.sandbox import limits_exceeded as limits_exceeded
from reapi_local.execute.sandbox.host.diagnosis import explained, unsuited_system
from reapi_local.execute.sandbox.host.host_view import (
    HostView,
    Step,
    homes_of_server,
    plan_host_view,
)
from reapi_local.execute.sandbox.host.identity import identity_of_actions, missing_accounts
from reapi_local.execute.sandbox.interface import (
    INPUT_ROOT,
    ProcessResult,
    ProcessSpec,
    SandboxConfig,
    SandboxError,
)
from reapi_local.execute.sandbox.linux.cgroup import MemoryGroup, MemoryGroups
from reapi_local.execute.sandbox.slot.output_pipe import RESERVED
from reapi_local.execute.sandbox.slot.slot_messages import Order, Settings
from reapi_local.execute.sandbox.slot.slot_process import Result, SlotFailed, SlotProcess
from reapi_local.threads import in_thread

_OWN_INODES: Final = 16
_NOTES: Final = {
    "abstract sockets": (
        "actions that may use the host's network reach its abstract unix sockets: "
        "only Linux 6.12 and later with Landlock can prevent that"
    ),
    "memory": (
        "memory of actions isn't limited: that takes a control group of the server's own, such as "
        "systemd gives to a service with Delegate=yes"
    ),
    "removed directories": (
        "an action that removes a directory of its inputs and makes it anew gets an error: "
        "that takes Linux 6.6"
    ),
}


@dataclass(eq=False)
class _Slot:
    process: SlotProcess
    network: bool
    view: tuple[Step, ...]
    memory: MemoryGroup | None = None
    kills: int = 0
    ending: asyncio.Task[None] | None = None

    async def end(self) -> None:
        """Once only."""
        await self.process.end()
        if self.memory:
            self.memory.remove()

    def was_short_of_memory(self) -> bool:
        """Whether since the last time something was killed for want of it."""
        before = self.kills
        self.kills = self.memory.kills() if self.memory else 0
        return self.kills > before


class SlotSandbox:
    """Actions in slots. Used from one event loop, whose thread outlives it."""

    def __init__(self, config: SandboxConfig) -> None:
        self._limits = config.limits
        self._work_dir = os.path.realpath(config.work_dir)
        self._layers_dir = config.layers_dir
        self._caches_dir = config.caches_dir
        self._hidden = config.all_hidden
        self._identity = identity_of_actions(config.user)
        self._may_run = asyncio.Semaphore(config.count)
        self._memory: MemoryGroups | None = None
        self._view = HostView((), ())
        self._idle: dict[bool, deque[_Slot]] = {False: deque(), True: deque()}
        self._all: set[_Slot] = set()
        self._closed = False
        self.notes: tuple[str, ...] = ()

    @property
    def root(self) -> str:
        """See :class:`~reapi_local.execute.sandbox.interface.Sandbox`."""
        return INPUT_ROOT

    async def start(self) -> None:
        """Run a first action, with all that any action may need but the network.

        Raises:
            SandboxError: it doesn't work here; the message names cause and cure.
        """
        if reason := unsuited_system():
            raise SandboxError(reason)
        self._view = await in_thread(self._plan)
        if self._limits.memory_bytes:
            self._memory = MemoryGroups.find(self._limits.memory_bytes)
        probe = ProcessSpec(("/bin/sh", "-c", ":"), {}, layers=(self._layers_dir,))
        async with self.run(probe, asyncio.Event()) as outcome:
            if outcome.exit_code:
                raise SandboxError(f"not even /bin/sh runs in a slot: {outcome.problem}")

    async def close(self) -> None:
        """See :class:`~reapi_local.execute.sandbox.interface.Sandbox`."""
        self._closed = True
        for slots in self._idle.values():
            slots.clear()
        if endings := [self._end(slot) for slot in self._all]:
            await asyncio.wait(endings)

    @contextlib.asynccontextmanager
    async def run(self, spec: ProcessSpec, stop: asyncio.Event) -> AsyncIterator[ProcessResult]:
        """See :class:`~reapi_local.execute.sandbox.interface.Sandbox`."""
        async with self._may_run:
            try:
                slot, result = await self._execute(spec, stop)
            except SlotFailed as failure:
                raise SandboxError(explained(failure)) from failure
            try:
                yield self._outcome(result, slot.was_short_of_memory())
            finally:
                # Before the release: the slot, not this thread, shall free what the action wrote.
                for descriptor in (result.root_fd, result.stdout_fd, result.stderr_fd):
                    os.close(descriptor)
                if result.report["discard"]:
                    self._end(slot)
                else:
                    self._give_back(slot)

    async def _execute(self, spec: ProcessSpec, stop: asyncio.Event) -> tuple[_Slot, Result]:
        slot = await self._take(spec.network)
        try:
            return slot, await slot.process.run(self._order(spec), stop)
        except BaseException:
            await asyncio.shield(self._end(slot))
            raise

    async def _take(self, network: bool) -> _Slot:
        """The slot that had most time to prepare, or a new one."""
        if not self._view.is_current():
            self._view = await in_thread(self._plan)
        idle = self._idle[network]
        while idle:
            slot = idle.popleft()
            if slot.view == self._view.steps and slot.process.is_alive():
                return slot
            self._end(slot)
        return await self._new_slot(network)

    def _give_back(self, slot: _Slot) -> None:
        try:
            slot.process.release()
        except SlotFailed:
            self._end(slot)
        else:
            if not self._closed:
                self._idle[slot.network].append(slot)

    async def _new_slot(self, network: bool) -> _Slot:
        if self._closed:
            raise SandboxError("the sandbox is closed")
        try:
            slot = _Slot(SlotProcess(), network, self._view.steps)
        except OSError as error:
            raise SandboxError(f"no process for a slot can be started: {error}") from error
        self._all.add(slot)
        try:
            if self._memory:
                slot.memory = self._memory.make()
                slot.memory.add(slot.process.pid)
            await slot.process.set_up(self._settings(network))
        except BaseException as error:
            await asyncio.shield(self._end(slot))
            if isinstance(error, OSError):
                raise SandboxError(f"memory can't be limited any more: {error}") from error
            raise
        self.notes = tuple(_NOTES[name] for name in (*slot.process.notes, *self._lacks()))
        return slot

    def _lacks(self) -> list[str]:
        return ["memory"] if self._limits.memory_bytes and not self._memory else []

    def _end(self, slot: _Slot) -> asyncio.Task[None]:
        """At once, and known when; also for a caller that is cancelled meanwhile."""
        if slot.ending is None:
            slot.ending = asyncio.create_task(slot.end())
            slot.ending.add_done_callback(lambda _: self._all.discard(slot))
        return slot.ending

    def _plan(self) -> HostView:
        try:
            return plan_host_view(self._identity, homes_of_server(), self._hidden)
        except OSError as error:
            raise SandboxError(f"can't see what to show of this host: {error}") from error

    def _settings(self, network: bool) -> Settings:
        identity, limits = self._identity, self._limits
        size = limits.scratch_bytes and limits.scratch_bytes + 2 * RESERVED
        inodes = limits.scratch_inodes and limits.scratch_inodes + _OWN_INODES
        return {
            "base": self._work_dir,
            "layers": self._layers_dir,
            "caches": self._caches_dir,
            "steps": list(self._view.steps),
            "accounts": missing_accounts(identity),
            "drop": os.getuid() == 0,
            "user": identity.user,
            "group": identity.group,
            "inner_user": identity.inner_user,
            "inner_group": identity.inner_group,
            "network": network,
            "scratch": f"mode=0755,size={size},nr_inodes={inodes}",
            "processes": limits.processes,
            "cpu_seconds": limits.cpu_seconds,
            "file_bytes": limits.file_bytes,
        }

    def _order(self, spec: ProcessSpec) -> Order:
        return {
            "arguments": list(spec.arguments),
            "environment": dict(spec.environment),
            "working_directory": spec.working_directory,
            "layers": [_relative(layer, self._layers_dir) for layer in spec.layers],
            "directories": list(spec.directories),
            "caches": spec.caches and _relative(spec.caches, self._caches_dir),
        }

    def _outcome(self, result: Result, short_of_memory: bool) -> ProcessResult:
        report = result.report
        limits_hit = [*report["limits_hit"], *(["memory_bytes"] if short_of_memory else [])]
        return ProcessResult(
            exit_code=report["exit_code"],
            root_fd=result.root_fd,
            stdout_fd=result.stdout_fd,
            stderr_fd=result.stderr_fd,
            started_ns=report["started_ns"],
            ended_ns=report["ended_ns"],
            problem=report["problem"],
            stopped=report["stopped"],
            limits_exceeded=limits_exceeded.in_words(limits_hit, self._limits),
            user_seconds=report["user_seconds"],
            system_seconds=report["system_seconds"],
            max_rss_bytes=report["max_rss_bytes"],
        )


def _relative(path: str, directory: str) -> str:
    """For a path below the directory, or the directory itself; many times as fast as relpath."""
    return path.removeprefix(directory).lstrip("/") or "."
