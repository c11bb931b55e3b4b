"""Actions in bubblewrap: for machines on which bwrap may do what a slot may not.

That is so where only programs that the system names, or setuid ones, may make user namespaces, and
for root where nobody may. Nor does it need overlays, so it runs on older kernels.
"""

from __future__ import annotations

import errno
import os
import shutil
import sys
from dataclasses import replace
from typing import Final

from reapi_local.execute.sandbox.host.diagnosis import explained
from reapi_local.execute.sandbox.host.host_view import HostView, homes_of_server, plan_host_view
from reapi_local.execute.sandbox.host.identity import identity_of_actions, missing_accounts
from reapi_local.execute.sandbox.interface import (
    INPUT_ROOT,
    ProcessSpec,
    SandboxConfig,
    SandboxError,
)
from reapi_local.execute.sandbox.slot.slot_process import SlotFailed
from reapi_local.execute.sandbox.supervised.action_dirs import ActionDir, ActionDirs
from reapi_local.execute.sandbox.supervised.bubblewrap_options import (
    PACKAGES_INSIDE,
    options_for_action,
    options_for_host,
    options_for_supervisor,
    read_only_at_last,
)
from reapi_local.execute.sandbox.supervised.scratch_filesystem import Disk, Tmpfs
from reapi_local.execute.sandbox.supervised.supervised_sandbox import SupervisedSandbox
from reapi_local.execute.sandbox.supervised.supervision import Process, rlimits, supervisor_command
from reapi_local.threads import in_thread

_NAMESPACES: Final = ("--unshare-pid", "--unshare-ipc", "--unshare-uts", "--unshare-cgroup-try")
# To become the actions' user and to kill what that user runs.
_CAPABILITIES_OF_ROOT: Final = ("CAP_SETUID", "CAP_SETGID", "CAP_KILL")
# What bwrap was about to do, by a part of its message.
_STEPS: Final = {
    "mount proc": "proc",
    "namespace": "user namespace",
    "uid map": "user namespace",
    "loopback": "user namespace",
}


class BubblewrapSandbox(SupervisedSandbox):
    """Each action in a bwrap of its own, on a copy of its input root.

    Actions of root's server have their uid inside, too: root needs no user namespace, and so has
    none that could be forbidden.
    """

    def __init__(self, config: SandboxConfig) -> None:
        limits, work_dir = config.limits, config.work_dir
        self._is_root = os.getuid() == 0
        identity = identity_of_actions(config.user)
        self._identity = replace(identity, inner_user=identity.user, inner_group=identity.group)
        self._hidden = config.all_hidden
        self._view = HostView((), ())
        self._files = os.path.join(work_dir, "files")
        self._program = ""
        self._accounts: list[str] = []
        # Root's actions share a uid, by which the kernel counts.
        processes = limits.processes * (config.count if self._is_root else 1)
        self._limits_of_process = rlimits(limits, processes)
        self._owner = identity.user if self._is_root else None
        scratch_filesystem = Tmpfs(limits) if self._is_root else Disk()
        super().__init__(
            limits,
            ActionDirs(
                os.path.join(work_dir, "actions"), config.count, self._owner, scratch_filesystem
            ),
        )

    @property
    def notes(self) -> tuple[str, ...]:
        """What doesn't hold."""
        notes = []
        if self._limits.memory_bytes:
            notes.append("bubblewrap can't limit memory, so action_memory has no effect")
        if self._limits.cpu_seconds:
            notes.append("under bubblewrap action_cpu_seconds holds for each process by itself")
        if not self._is_root:
            notes.append(
                "bubblewrap can't limit what an ordinary user's actions write, so scratch_size "
                "and scratch_inodes have no effect"
            )
        return tuple(notes)

    async def start(self) -> None:
        """Run a first action.

        Raises:
            SandboxError: it doesn't work here; the message names cause and cure.
        """
        if sys.platform != "linux":
            raise SandboxError("bubblewrap exists for Linux only")
        await in_thread(self._write_files)
        self._program = shutil.which("bwrap") or ""
        if not self._program:
            raise SandboxError("bubblewrap isn't installed; `apt install bubblewrap` or the like")
        try:
            await super().start()
        except SandboxError as error:
            raise _explained(error) from error

    async def close(self) -> None:
        await super().close()
        await in_thread(shutil.rmtree, self._files, ignore_errors=True)

    async def _start_with(self, spec: ProcessSpec, place: ActionDir) -> tuple[list[str], Process]:
        if not self._view.is_current() or not self._view.steps:
            homes = homes_of_server()
            self._view = await in_thread(plan_host_view, self._identity, homes, self._hidden)
        command = [
            *(self._program, "--as-pid-1", "--die-with-parent"),
            *_NAMESPACES,
            *(() if spec.network else ("--unshare-net",)),
            *self._privileges(),
            *options_for_host(self._view, os.path.join(self._files, "empty")),
            *self._accounts,
            *options_for_action(place, spec.caches),
            *options_for_supervisor(self._view),
            *read_only_at_last(self._view),
            "--",
            *supervisor_command(PACKAGES_INSIDE),
        ]
        return command, {
            "arguments": list(spec.arguments),
            "environment": dict(spec.environment),
            "working_directory": os.path.join(INPUT_ROOT, spec.working_directory),
            "directories": [os.path.join(INPUT_ROOT, path) for path in spec.directories],
            "limits": self._limits_of_process,
            "user": self._owner,
            "contained": True,
        }

    def _privileges(self) -> list[str]:
        if not self._is_root:
            return ["--unshare-user-try", "--cap-drop", "ALL"]
        kept = [option for name in _CAPABILITIES_OF_ROOT for option in ("--cap-add", name)]
        return ["--cap-drop", "ALL", *kept]

    def _write_files(self) -> None:
        """What is mounted over the host's files; for all to read, whatever the server's umask."""
        shutil.rmtree(self._files, ignore_errors=True)
        os.makedirs(self._files, mode=0o700)
        accounts = missing_accounts(self._identity)
        self._accounts = []
        for path, text in {"/empty": "", **accounts}.items():
            own = os.path.join(self._files, os.path.basename(path))
            with open(own, "w", encoding="utf-8", errors="surrogateescape") as file:
                file.write(text)
            os.chmod(own, 0o644)
            if path in accounts and os.path.isfile(path):
                self._accounts += ["--ro-bind", own, path]


def _explained(error: SandboxError) -> SandboxError:
    """With the cure, if bwrap could not do what a slot can't either."""
    said = str(error)
    steps = [step for sign, step in _STEPS.items() if sign in said]
    if not steps:
        return error
    number = errno.ENOSPC if "ENOSPC" in said else errno.EPERM
    return SandboxError(explained(SlotFailed(steps[0], number, said)))
