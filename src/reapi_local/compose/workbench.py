"""Puts together what a past action needs to run on this machine, outside of a server."""

from __future__ import annotations

import math
import os
import tempfile
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final

from reapi_contract import data_dir
from reapi_contract.state import State
from reapi_local.client.connection import Connection
from reapi_local.client.remote_blobs import RemoteBlobs
from reapi_local.clock import SystemClock
from reapi_local.compose.execution import SANDBOXES, private_paths
from reapi_local.execute.local.inputs.input_roots import InputRoots
from reapi_local.execute.local.named_caches import NamedCaches
from reapi_local.execute.local.policy import Policy
from reapi_local.execute.local.process_environment import ProcessEnvironment
from reapi_local.execute.local.resolver import ActionResolver
from reapi_local.execute.remove_tree import remove_tree
from reapi_local.execute.sandbox.choose import choose
from reapi_local.execute.sandbox.host.identity import ACTION_UID
from reapi_local.execute.sandbox.host.places import Places
from reapi_local.execute.sandbox.interface import ActionLimits, Sandbox, SandboxConfig
from reapi_local.threads import in_thread

_MAX_LAYERS_BYTES: Final = 1 << 50
"""The disk is the limit: the layers are of one action, and are deleted after it."""
_PLACES: Final = ("layers", "caches", "sandbox")


class NoSandbox(Exception):
    """No sandbox works on this machine. ``reasons``: one sentence for each that was tried."""

    def __init__(self, reasons: tuple[str, ...]) -> None:
        super().__init__(" ".join(reasons))
        self.reasons = reasons


@dataclass(frozen=True)
class Workbench:
    """``place``: a directory of its own, which is deleted at the end."""

    place: Path
    resolver: ActionResolver
    input_roots: InputRoots
    environment: ProcessEnvironment

    @asynccontextmanager
    async def sandbox(
        self, level: str, state: State, show: Sequence[str]
    ) -> AsyncIterator[Sandbox]:
        """A started sandbox. ``level``: "auto" = the strongest that works here.

        It shows what actions of the server with this state file see, and nothing that belongs to
        the server. ``show``: the paths of its setting.

        Raises:
            NoSandbox: none works.
        """
        config = SandboxConfig(
            count=1,
            limits=ActionLimits(),
            work_dir=str(self.place / "sandbox"),
            layers_dir=str(self.place / "layers"),
            caches_dir=str(self.place / "caches"),
            hidden=(state.data_dir, str(self.place), *private_paths(state.ca_certs_path)),
            places=Places(show, state.data_dir, os.path.join(state.data_dir, data_dir.PLACES)),
            closed_ports=(state.grpc_port, state.admin_port),
            action_uid=ACTION_UID,
        )
        make = {name: partial(kind, config) for name, kind in SANDBOXES.items()}
        chosen = await choose(level, make)
        if chosen.sandbox is None:
            raise NoSandbox(chosen.reasons)
        try:
            yield chosen.sandbox
        finally:
            await chosen.sandbox.close()


@asynccontextmanager
async def workbench(
    connection: Connection, *, for_sandbox: bool, hermetic: bool = False
) -> AsyncIterator[Workbench]:
    """A workbench that reads from a server.

    ``for_sandbox``: the files have the owner that actions have. ``hermetic``: no action gets the
    network.
    """
    place = Path(tempfile.mkdtemp(prefix="reapi-local-"))
    owner = ACTION_UID if for_sandbox and os.getuid() == 0 else None
    blobs, clock = RemoteBlobs(connection), SystemClock()
    policy = Policy(math.inf, math.inf, hermetic=hermetic, shares_host=True)
    try:
        for name in _PLACES:
            (place / name).mkdir()
            (place / name).chmod(0o755)
        input_roots = InputRoots(blobs, str(place / "layers"), _MAX_LAYERS_BYTES, owner)
        caches = NamedCaches(str(place / "caches"), _MAX_LAYERS_BYTES, owner, clock)
        try:
            resolver = ActionResolver(blobs, input_roots, policy, clock)
            environment = ProcessEnvironment(policy, caches)
            yield Workbench(place, resolver, input_roots, environment)
        finally:
            await input_roots.close()
            await caches.close()
    finally:
        await in_thread(remove_tree, str(place))
