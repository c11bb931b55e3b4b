"""Puts the parts of the executor together, if a sandbox works on this machine."""

from __future__ import annotations

import logging
import os
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack, suppress
from functools import partial
from typing import Final

from reapi_contract import data_dir, sandbox_levels
from reapi_contract.admin_api import ExecutionStatus
from reapi_local.clock import Clock
from reapi_local.compose.storage import Storage
from reapi_local.config.loopback import is_loopback
from reapi_local.config.schema import Config
from reapi_local.events import EventStream
from reapi_local.execute.deferred_executor import DeferredExecutor, StartOutcome, Unavailable
from reapi_local.execute.executor import Executor
from reapi_local.execute.local.host_platform import HostPlatform
from reapi_local.execute.local.inputs.input_roots import InputRoots
from reapi_local.execute.local.local_executor import LocalExecutor
from reapi_local.execute.local.named_caches import NamedCaches
from reapi_local.execute.local.policy import Policy
from reapi_local.execute.local.process_environment import ProcessEnvironment
from reapi_local.execute.local.resolver import ActionResolver
from reapi_local.execute.local.runner import Runner
from reapi_local.execute.queue.scheduler import Scheduler
from reapi_local.execute.remove_tree import remove_tree
from reapi_local.execute.sandbox.action_paths import CACHES
from reapi_local.execute.sandbox.choose import Chosen, choose
from reapi_local.execute.sandbox.host.identity import ACTION_UID
from reapi_local.execute.sandbox.host.places import Places
from reapi_local.execute.sandbox.interface import ActionLimits, Sandbox, SandboxConfig
from reapi_local.execute.sandbox.slot.slot_sandbox import SlotSandbox
from reapi_local.execute.sandbox.supervised.bubblewrap import BubblewrapSandbox
from reapi_local.execute.sandbox.supervised.process_group import ProcessGroupSandbox
from reapi_local.threads import in_thread
from reapi_local.tls.names import AUTHORITY_KEY

_log = logging.getLogger(__name__)
_MAX_SCRATCH_BYTES: Final = 16 * 1024**3
_MAX_STORING: Final = 2
"""How many actions may store outputs while all slots are occupied."""

_OFF: Final = (
    "Execution is switched off by the setting execution; set it to `on` to execute actions."
)
_REACHABLE_BY_OTHERS: Final = (
    "The server listens on an address that other machines can reach. If you set execution to `on`, "
    "everybody who has the server's token can run programs here."
)
SANDBOXES: Final[dict[str, Callable[[SandboxConfig], Sandbox]]] = {
    sandbox_levels.SLOTS: SlotSandbox,
    sandbox_levels.BUBBLEWRAP: BubblewrapSandbox,
    sandbox_levels.PROCESS_GROUP: ProcessGroupSandbox,
}


def make_executor(
    config: Config,
    storage: Storage,
    places: Places,
    clock: Clock,
    events: EventStream,
    ports: Awaitable[tuple[int, ...]],
) -> Executor:
    """The executor of a server. To use another kind of executor, replace it here.

    ``ports``: those that the server listens on, once they are known. It starts then.
    """
    return DeferredExecutor(_Start(config, storage, places, clock, events, ports).start)


class _Start:
    def __init__(
        self,
        config: Config,
        storage: Storage,
        places: Places,
        clock: Clock,
        events: EventStream,
        ports: Awaitable[tuple[int, ...]],
    ) -> None:
        self._ports = ports
        self._config, self._settings, self._places = config, config.execute, places
        self._storage, self._clock, self._events = storage, clock, events
        self._slots = self._settings.slots or _cores()

    async def start(self) -> StartOutcome:
        wanted = self._settings.execution
        if wanted == "off":
            return self._unavailable(_OFF)
        if wanted == "auto" and not is_loopback(self._config.listen.host):
            return self._unavailable(_REACHABLE_BY_OTHERS)
        config = await self._sandbox_config()
        make = {name: partial(kind, config) for name, kind in SANDBOXES.items()}
        chosen = await choose(self._settings.sandbox, make)
        if chosen.sandbox is None:
            return self._unavailable(*chosen.reasons)
        _log.info("actions run in the sandbox %s, at most %d at once", chosen.level, self._slots)
        return self._assemble(chosen, chosen.sandbox, config)

    def _unavailable(self, *reasons: str) -> Unavailable:
        return Unavailable(
            ExecutionStatus(slots=self._slots, hermetic=self._settings.hermetic, reasons=reasons)
        )

    async def _sandbox_config(self) -> SandboxConfig:
        work_dir = self._directory(data_dir.SANDBOX)
        with suppress(OSError):  # a killed server may have left mounts; the sandbox removes them
            await in_thread(remove_tree, work_dir)
        return SandboxConfig(
            count=self._slots + _MAX_STORING,
            limits=_action_limits(self._config, self._slots + _MAX_STORING),
            work_dir=self._directory(data_dir.SANDBOX),
            layers_dir=self._directory(data_dir.INPUTS),
            caches_dir=self._directory(data_dir.CACHES),
            hidden=(self._config.data_dir, *private_paths(self._config.listen.tls_key)),
            places=self._places,
            closed_ports=await self._ports,
            action_uid=ACTION_UID,
        )

    def _assemble(self, chosen: Chosen, sandbox: Sandbox, config: SandboxConfig) -> LocalExecutor:
        settings, storage, clock = self._settings, self._storage, self._clock
        owner = ACTION_UID if os.getuid() == 0 else None
        policy = Policy(
            default_timeout=settings.action_timeout,
            max_timeout=settings.max_action_timeout,
            hermetic=settings.hermetic,
            shares_host=is_loopback(self._config.listen.host),
            platform=(
                HostPlatform.of_this_machine() if settings.other_platforms == "refuse" else None
            ),
        )
        input_roots = InputRoots(storage.blobs, config.layers_dir, settings.input_cache, owner)
        caches = NamedCaches(config.caches_dir, settings.named_caches, owner, clock)
        caches.begin_to_keep_limit()
        environment = ProcessEnvironment(policy, caches)
        resources = AsyncExitStack()
        resources.push_async_callback(caches.close)
        resources.push_async_callback(sandbox.close)
        resources.push_async_callback(input_roots.close)
        return LocalExecutor(
            Scheduler(self._slots, max_storing=_MAX_STORING, unwatched_grace=settings.watch_grace),
            ActionResolver(storage.blobs, input_roots, policy, clock),
            Runner(
                sandbox, environment, input_roots, storage.blobs, storage.execution_results, clock
            ),
            storage.execution_results,
            storage.blobs,
            clock,
            self._events,
            partial(self._status, chosen, sandbox),
            resources,
        )

    def _status(self, chosen: Chosen, sandbox: Sandbox) -> ExecutionStatus:
        is_isolated = chosen.level != sandbox_levels.PROCESS_GROUP
        return ExecutionStatus(
            offered=True,
            sandbox=chosen.level,
            slots=self._slots,
            caches=CACHES if is_isolated else "",
            hermetic=self._settings.hermetic,
            show=self._settings.show,
            notes=tuple(sandbox.notes),
            reasons=chosen.reasons,
        )

    def _directory(self, name: str) -> str:
        path = os.path.join(self._config.data_dir, name)
        os.makedirs(path, exist_ok=True)
        # Actions have another uid if the server runs as root, so they need access. The data
        # directory above it is closed to other users.
        os.chmod(path, 0o755)
        return path


def private_paths(tls_key: str) -> tuple[str, ...]:
    """What holds the server's key; all of a directory that `tls init` made, with other keys."""
    if not tls_key:
        return ()
    directory = os.path.dirname(tls_key)
    is_made_by_us = os.path.exists(os.path.join(directory, AUTHORITY_KEY))
    return (tls_key, directory) if is_made_by_us else (tls_key,)


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _action_limits(config: Config, actions: int) -> ActionLimits:
    """The limits of one action. All scratch spaces together may by default fill half the memory."""
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
