"""The slot sandbox: the one that costs an action least, because slots stay ready.

See ``slot_main`` for what a slot is, and ``host_view`` for what an action sees of the host.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
from collections import deque
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Final

from reapi_local.execute.sandbox.action_paths import INPUT_ROOT
from reapi_local.execute.sandbox.closed_ports import ClosedPorts
from reapi_local.execute.sandbox.host.diagnosis import explain, why_unsupported
from reapi_local.execute.sandbox.host.host_view import Step
from reapi_local.execute.sandbox.host.host_views import HostViews
from reapi_local.execute.sandbox.host.identity import account_files, identity_of_actions
from reapi_local.execute.sandbox.interface import (
    ProcessResult,
    ProcessSpec,
    SandboxConfig,
    SandboxError,
    StepError,
)
from reapi_local.execute.sandbox.limit_messages import limit_messages
from reapi_local.execute.sandbox.linux.cgroup import MemoryCgroup, MemoryCgroups
from reapi_local.execute.sandbox.slot.kept_memory import (
    counts_kept_memory,
    is_freed,
    share_caches,
    share_network,
)
from reapi_local.execute.sandbox.slot.slot_messages import SlotRequest, SlotSettings
from reapi_local.execute.sandbox.slot.slot_process import SlotProcess, SlotResult
from reapi_local.execute.sandbox.slot.workspace import RESERVED_STDIO_BYTES
from reapi_local.threads import in_thread, to_the_end

_log = logging.getLogger(__name__)
_SLOT_INODES: Final = 16
_HELD_MEMORY: Final = (
    "memory of an action that had ended was still held, by this one or by another that shares its "
    "named caches or network; all of them were stopped, to free it"
)
_NOTES: Final = {
    "abstract sockets": (
        "actions with the host's network can reach the host's abstract unix sockets: "
        "only Linux 6.12 and later with Landlock can prevent that"
    ),
    "memory": (
        "the memory of actions isn't limited: that needs a cgroup that the server owns, such as "
        "systemd gives to a service with Delegate=yes"
    ),
    "removed directories": (
        "an action that removes a directory of its inputs and creates it again gets an error: "
        "that needs Linux 6.6"
    ),
}


@dataclass(eq=False)
class _Slot:
    process: SlotProcess
    network: bool
    steps: tuple[Step, ...]
    memory: MemoryCgroup | None = None
    own_bytes: int = 0
    """What it held before its first action."""
    oom_kills: int = 0
    action: ProcessSpec | None = None
    """What it runs, or has run, until it is idle."""
    why_ended: str = ""
    ending: asyncio.Task[None] | None = None

    def had_oom_kill(self) -> bool:
        """Whether the OOM killer killed a process of this slot since the last call."""
        before = self.oom_kills
        self.oom_kills = self.memory.oom_kills() if self.memory else 0
        return self.oom_kills > before


class SlotSandbox:
    """Runs actions in slots. To be used on one event loop, whose thread outlives it."""

    def __init__(self, config: SandboxConfig) -> None:
        self._limits = config.limits
        self._work_dir = os.path.realpath(config.work_dir)
        self._layers_dir = config.layers_dir
        self._caches_dir = config.caches_dir
        self._closed_ports = ClosedPorts(config.closed_ports)
        self._identity = identity_of_actions(config.action_uid)
        self._concurrency = asyncio.Semaphore(config.count)
        self._memory: MemoryCgroups | None = None
        self._counts_kept_memory = False
        self._views = HostViews(self._identity, config.all_hidden, config.places)
        self._idle: dict[bool, deque[_Slot]] = {False: deque(), True: deque()}
        self._slots: set[_Slot] = set()
        self._is_closed = False
        self._notes: tuple[str, ...] = ()

    @property
    def root(self) -> str:
        """See :class:`~reapi_local.execute.sandbox.interface.Sandbox`."""
        return INPUT_ROOT

    @property
    def notes(self) -> tuple[str, ...]:
        """See :class:`~reapi_local.execute.sandbox.interface.Sandbox`."""
        return (*self._closed_ports.notes, *self._notes)

    async def start(self) -> None:
        """Run a first action that uses every feature but the network.

        Raises:
            SandboxError: it doesn't work on this machine; the message has the cause and the cure.
        """
        if reason := why_unsupported():
            raise SandboxError(reason)
        if self._limits.memory_bytes:
            self._memory = MemoryCgroups.find(self._limits.memory_bytes)
            self._counts_kept_memory = await in_thread(counts_kept_memory, self._caches_dir)
        probe = ProcessSpec(("/bin/sh", "-c", ":"), {}, layers=(self._layers_dir,))
        async with self.run(probe, asyncio.Event()) as process_result:
            if process_result.exit_code:
                raise SandboxError(f"/bin/sh doesn't run in a slot: {process_result.problem}")
        await self._closed_ports.prepare()

    async def close(self) -> None:
        """See :class:`~reapi_local.execute.sandbox.interface.Sandbox`."""
        self._is_closed = True
        for slots in self._idle.values():
            slots.clear()
        if endings := [self._end(slot) for slot in self._slots]:
            await asyncio.wait(endings)
        self._closed_ports.close()

    @contextlib.asynccontextmanager
    async def run(self, spec: ProcessSpec, stop: asyncio.Event) -> AsyncIterator[ProcessResult]:
        """See :class:`~reapi_local.execute.sandbox.interface.Sandbox`."""
        async with self._concurrency:
            try:
                slot, result = await self._execute(spec, stop)
            except StepError as error:
                raise SandboxError(explain(error)) from error
            try:
                yield self._process_result(spec, result, slot.had_oom_kill())
            finally:
                # Before the release, so that the slot deletes the action's files, not this thread.
                for descriptor in (result.root_fd, result.stdout_fd, result.stderr_fd):
                    os.close(descriptor)
                if slot.memory and self._counts_kept_memory:
                    is_to_end = result.report["discard"]
                    await to_the_end(self._free_memory(slot, slot.memory, is_to_end))
                elif result.report["discard"]:
                    self._end(slot)
                else:
                    self._put_back(slot)

    async def _execute(self, spec: ProcessSpec, stop: asyncio.Event) -> tuple[_Slot, SlotResult]:
        slot = await self._take(spec.network)
        slot.action = spec
        try:
            return slot, await slot.process.run(self._request(spec), stop, spec.terminal)
        except BaseException as error:
            await asyncio.shield(self._end(slot))
            if slot.why_ended and isinstance(error, StepError):
                raise SandboxError(slot.why_ended) from error
            raise

    async def _take(self, network: bool) -> _Slot:
        """The slot that has been idle longest, and so is most likely prepared; else a new one."""
        view = await self._views.current()
        idle = self._idle[network]
        while idle:
            slot = idle.popleft()
            if slot.steps == view.steps and slot.process.is_alive():
                return slot
            self._end(slot)
        return await self._new_slot(network, view.steps)

    def _put_back(self, slot: _Slot) -> None:
        try:
            slot.process.release()
        except StepError:
            self._end(slot)
        else:
            self._make_idle(slot)

    def _make_idle(self, slot: _Slot) -> None:
        slot.action = None
        if not self._is_closed:
            self._idle[slot.network].append(slot)

    async def _free_memory(self, slot: _Slot, memory: MemoryCgroup, is_to_end: bool) -> None:
        """Put the slot back if its action's memory is free; else end it, and wait until it is.

        So the next action has all the memory that it may use, and no more is in use than the
        actions that may run at once can use.
        """
        if not is_to_end:
            try:
                await slot.process.renew()
                is_to_end = not await is_freed(memory, slot.own_bytes)
            except StepError:
                is_to_end = True
        if is_to_end:
            await self._end(slot)
        else:
            self._make_idle(slot)

    async def _new_slot(self, network: bool, steps: tuple[Step, ...]) -> _Slot:
        if self._is_closed:
            raise SandboxError("the sandbox is closed")
        try:
            slot = _Slot(SlotProcess(), network, steps)
        except OSError as error:
            raise SandboxError(f"can't start the process of a slot: {error}") from error
        self._slots.add(slot)
        try:
            if self._memory:
                slot.memory = self._memory.create()
                slot.memory.add(slot.process.pid)
            rulesets = self._closed_ports.rulesets if network else ()
            await slot.process.set_up(self._settings(slot), rulesets)
            slot.own_bytes = slot.memory.held_bytes() if slot.memory else 0
        except BaseException as error:
            await asyncio.shield(self._end(slot))
            if isinstance(error, OSError):
                raise SandboxError(f"can't limit memory any more: {error}") from error
            raise
        self._notes = tuple(_NOTES[name] for name in (*slot.process.notes, *self._unenforced()))
        return slot

    def _unenforced(self) -> list[str]:
        return ["memory"] if self._limits.memory_bytes and not self._memory else []

    def _end(self, slot: _Slot) -> asyncio.Task[None]:
        """Start to end the slot at once. It completes even if the caller is cancelled."""
        if slot.ending is None:
            slot.ending = asyncio.create_task(self._end_once(slot))
            slot.ending.add_done_callback(lambda _: self._slots.discard(slot))
        return slot.ending

    async def _end_once(self, slot: _Slot) -> None:
        await slot.process.end()
        if slot.memory:
            if self._counts_kept_memory:
                await self._end_holders(slot, slot.memory)
            slot.memory.remove()

    async def _end_holders(self, slot: _Slot, memory: MemoryCgroup) -> None:
        """End the actions that may hold memory of a slot that has ended, if somebody does."""
        for may_hold in (share_caches, share_network):
            if await is_freed(memory):
                return
            for other in [*self._slots]:
                if other.ending is None and may_hold(slot.action, other.action):
                    other.why_ended = _HELD_MEMORY
                    self._end(other)
        if not await is_freed(memory):
            _log.warning("a program of this machine holds memory of an action that has ended")

    def _settings(self, slot: _Slot) -> SlotSettings:
        identity, limits = self._identity, self._limits
        size = limits.scratch_bytes and limits.scratch_bytes + 2 * RESERVED_STDIO_BYTES
        inodes = limits.scratch_inodes and limits.scratch_inodes + _SLOT_INODES
        return {
            "base": self._work_dir,
            "layers": self._layers_dir,
            "caches": self._caches_dir,
            "steps": list(slot.steps),
            "account_files": account_files(identity),
            "drop_root": os.getuid() == 0,
            "uid": identity.uid,
            "gid": identity.gid,
            "inner_uid": identity.inner_uid,
            "inner_gid": identity.inner_gid,
            "network": slot.network,
            "scratch_options": f"mode=0755,size={size},nr_inodes={inodes}",
            "processes": limits.processes,
            "cpu_seconds": limits.cpu_seconds,
            "file_bytes": limits.file_bytes,
        }

    def _request(self, spec: ProcessSpec) -> SlotRequest:
        return {
            "arguments": list(spec.arguments),
            "environment": dict(spec.environment),
            "working_directory": spec.working_directory,
            "layers": [_relative(layer, self._layers_dir) for layer in spec.layers],
            "directories": list(spec.directories),
            "caches": spec.caches and _relative(spec.caches, self._caches_dir),
        }

    def _process_result(
        self, spec: ProcessSpec, result: SlotResult, had_oom_kill: bool
    ) -> ProcessResult:
        report = result.report
        exceeded = [*report["limits_exceeded"], *(["memory_bytes"] if had_oom_kill else [])]
        return ProcessResult(
            exit_code=report["exit_code"],
            root_fd=result.root_fd,
            stdout_fd=result.stdout_fd,
            stderr_fd=result.stderr_fd,
            started_ns=report["started_ns"],
            ended_ns=report["ended_ns"],
            problem=report["problem"],
            stopped=report["stopped"],
            limits_exceeded=limit_messages(exceeded, self._limits),
            user_seconds=report["user_seconds"],
            system_seconds=report["system_seconds"],
            max_rss_bytes=report["max_rss_bytes"],
            not_shown=self._views.remark_on(spec, report["exit_code"]),
        )


def _relative(path: str, directory: str) -> str:
    """``path`` relative to ``directory``, which contains it; much faster than os.path.relpath."""
    return path.removeprefix(directory).lstrip("/") or "."
