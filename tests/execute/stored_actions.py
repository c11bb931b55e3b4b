"""Actions in a store, and what the server makes of them before they run."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any

from contexts import context
from reapi_local.clock import Clock, ManualClock, SystemClock
from reapi_local.execute.job import Job
from reapi_local.execute.local.inputs.input_roots import InputRoots
from reapi_local.execute.local.named_caches import NamedCaches
from reapi_local.execute.local.policy import Policy
from reapi_local.execute.local.process_environment import ProcessEnvironment
from reapi_local.execute.local.resolver import ActionResolver
from reapi_local.execute.sandbox.interface import ProcessSpec
from reapi_local.proto import remote_execution_pb2 as re_pb2
from reapi_local.protocol.digest import Digest, DigestFunction, digest_of
from reapi_local.store.memory import MemoryStore

MIB = 1024 * 1024
BAZEL, PANTS = "bazel", "pants"
ROOT, LAYERS = "/some/root", ("/layers/a", "/layers/b")
USUAL = Policy(default_timeout=60.0, max_timeout=600.0, hermetic=False, shares_host=True)


class World:
    """A store with actions in it, and what becomes of them."""

    def __init__(self, directory: Path, function: DigestFunction = DigestFunction.SHA256) -> None:
        self.blobs, self.directory, self.function = MemoryStore(), directory, function

    def add(self, data: bytes) -> re_pb2.Digest:
        digest = digest_of(data, self.function)
        self.blobs.blobs[digest] = data
        return re_pb2.Digest(hash=digest.hash_hex, size_bytes=digest.size_bytes)

    def root(self, **files: bytes) -> re_pb2.Digest:
        """An input root with these files."""
        nodes = [re_pb2.FileNode(name=name, digest=self.add(files[name])) for name in sorted(files)]
        return self.add(re_pb2.Directory(files=nodes).SerializeToString())

    def action(
        self,
        *,
        input_root: re_pb2.Digest | None = None,
        action: dict[str, Any] | None = None,
        **command: Any,
    ) -> Digest:
        """The digest of an action whose command has these fields."""
        message = re_pb2.Command(**{"arguments": ["true"], **command})
        sent = re_pb2.Action(
            command_digest=self.add(message.SerializeToString()),
            input_root_digest=input_root or self.root(),
            **(action or {}),
        )
        digest = digest_of(sent.SerializeToString(), self.function)
        self.blobs.blobs[digest] = sent.SerializeToString()
        return digest

    async def job(
        self,
        action: Digest,
        tool: str = BAZEL,
        *,
        instance: str = "",
        policy: Policy = USUAL,
        clock: Clock | None = None,
    ) -> Job:
        """What the resolver makes of it."""
        roots = InputRoots(self.blobs, str(self.directory / "inputs"), 64 * MIB)
        try:
            resolver = ActionResolver(self.blobs, roots, policy, clock or SystemClock())
            return await resolver.resolve(context("run", instance, tool), action)
        finally:
            await roots.close()

    async def spec(
        self,
        action: Digest,
        tool: str = BAZEL,
        *,
        instance: str = "",
        policy: Policy = USUAL,
        owner: int | None = None,
    ) -> ProcessSpec:
        """Its process in a sandbox whose input root is at ``ROOT``."""
        job = await self.job(action, tool, instance=instance, policy=policy)
        caches = NamedCaches(str(self.directory / "caches"), MIB, owner, ManualClock())
        environment = ProcessEnvironment(policy, caches)
        with environment.caches(job) as directory:
            spec = environment.bind(job, ROOT, LAYERS, directory)
        await caches.close()
        return spec


def wrapper(directory: str) -> bytes:
    return (
        f'#!/bin/sh\ncd {shlex.quote(directory)}\nif [ "$?" != 0 ]; then\n  exit 1\nfi\nexec "$@"\n'
    ).encode()


def variables(**values: str) -> list[re_pb2.Command.EnvironmentVariable]:
    return [re_pb2.Command.EnvironmentVariable(name=n, value=v) for n, v in values.items()]


def platform(**values: str) -> re_pb2.Platform:
    return re_pb2.Platform(
        properties=[re_pb2.Platform.Property(name=n, value=v) for n, v in values.items()]
    )
