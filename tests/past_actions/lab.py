"""A server with past actions, and the command line of its user."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from launcher.harness import Site
from launcher.server_process import Server
from patience import PATIENCE_S
from reapi_local.proto.remote_execution_pb2 import (
    Action,
    ActionResult,
    Command,
    Digest,
    Directory,
    GetActionResultRequest,
    UpdateActionResultRequest,
)
from rpc.actions import execute, make, upload
from rpc.helpers import Client, digest_of

_T = TypeVar("_T")
INSTANCE = "default"

# Root, but in a user namespace in which it is somebody else, without any right of root's.
AS_A_USER = ("unshare", "--user", "--map-user=1234", "--map-group=1234")


def users() -> list[tuple[str, ...]]:
    """Prefixes of commands: as the user of this test and, if that is root, as an ordinary user."""
    if os.getuid() != 0 or shutil.which(AS_A_USER[0]) is None:
        return [()]
    works = subprocess.run([*AS_A_USER, "true"], check=False, capture_output=True).returncode == 0
    return [(), AS_A_USER] if works else [()]


@dataclass
class Lab:
    """``server`` runs for all tests of a file. Each call opens a connection of its own."""

    site: Site
    server: Server
    made: dict[str, str] = field(default_factory=dict)

    def ask(self, do: Callable[[Client], Coroutine[Any, Any, _T]]) -> _T:
        async def connected() -> _T:
            state = self.server.state
            headers = [("authorization", f"Bearer {state.token}")]
            client = Client(f"127.0.0.1:{state.grpc_port}", headers)
            try:
                return await do(client)
            finally:
                await client.channel.close(None)

        return asyncio.run(connected())

    def upload(self, *blobs: bytes) -> list[str]:
        """Their digests."""
        self.ask(lambda client: upload(client, blobs, INSTANCE))
        return [text(digest_of(blob)) for blob in blobs]

    def action(
        self,
        script: str,
        files: Mapping[str, str | bytes] | None = None,
        outputs: Sequence[str] = (),
        *,
        run: bool = True,
        **more: Any,
    ) -> str:
        """An action that runs a shell script; it has run unless told otherwise."""

        async def do(client: Client) -> Digest:
            arguments = ("/bin/sh", "-c", script)
            action = await make(
                client, *arguments, files=files, outputs=outputs, instance=INSTANCE, **more
            )
            if run:
                await execute(client, action, instance_name=INSTANCE)
            return action

        return text(self.ask(do))

    def cached(self, action: str) -> ActionResult:
        request = GetActionResultRequest(instance_name=INSTANCE, action_digest=message(action))

        async def do(client: Client) -> ActionResult:
            result: ActionResult = await client.GetActionResult(request)
            return result

        return self.ask(do)

    def keep_result(self, action: str, result: ActionResult) -> None:
        """What a client does that ran the action itself."""
        request = UpdateActionResultRequest(
            instance_name=INSTANCE, action_digest=message(action), action_result=result
        )

        async def do(client: Client) -> None:
            await client.UpdateActionResult(request)

        self.ask(do)

    def run(self, *words: str, prefix: Sequence[str] = ()) -> subprocess.CompletedProcess[str]:
        command = [*prefix, sys.executable, "-m", "reapi_local_launcher", *words]
        return subprocess.run(
            command,
            env={**self.site.env, "PYTHONPATH": self.site.python_path},
            cwd=self.site.root,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=PATIENCE_S,
            check=False,
        )

    def text(self, *words: str) -> str:
        """What a command prints; it must succeed, and stay within 80 columns but for what is one
        word of the user's.
        """
        done = self.run(*words)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def json(self, *words: str) -> dict[str, Any]:
        content: dict[str, Any] = json.loads(self.text(*words, "--json"))
        return content

    def refusal(self, *words: str) -> str:
        """The message of a command that must fail."""
        done = self.run(*words)
        assert done.returncode == 1, done.stdout + done.stderr
        for part in ("error: ", "\nwhy:    ", "\nremedy: "):
            assert part in done.stderr
        assert "Traceback" not in done.stderr
        return " ".join(done.stderr.split())


def text(digest: Digest) -> str:
    return f"{digest.hash}/{digest.size_bytes}"


def message(digest: str) -> Digest:
    hash_hex, _, size = digest.partition("/")
    return Digest(hash=hash_hex, size_bytes=int(size))


def blobs_of(command: Command, root: Directory, **more: Any) -> tuple[bytes, bytes, bytes]:
    """The encoded action, command and input root."""
    parts = command.SerializeToString(), root.SerializeToString()
    action = Action(
        command_digest=digest_of(parts[0]), input_root_digest=digest_of(parts[1]), **more
    )
    return action.SerializeToString(), *parts


def start(root: Path, *flags: str) -> Lab:
    site = Site(root, real=True)
    return Lab(site, Server(site, *flags))
