"""The bubblewrap sandbox, for machines where bwrap works and slots don't.

Some systems let only certain programs, or setuid programs, create user namespaces. If no program
may create them, bwrap still works for root. It doesn't need overlays, so it works on older kernels.
"""

from __future__ import annotations

import errno
import os
import shutil
import sys
from dataclasses import replace
from typing import Final

from reapi_local.execute.sandbox.action_paths import INPUT_ROOT
from reapi_local.execute.sandbox.closed_ports import ClosedPorts
from reapi_local.execute.sandbox.host.diagnosis import explain
from reapi_local.execute.sandbox.host.host_views import HostViews
from reapi_local.execute.sandbox.host.identity import account_files, identity_of_actions
from reapi_local.execute.sandbox.interface import (
    ProcessSpec,
    SandboxConfig,
    SandboxError,
    StepError,
)
from reapi_local.execute.sandbox.supervised.action_dirs import ActionDir, ActionDirs
from reapi_local.execute.sandbox.supervised.bubblewrap_options import (
    PACKAGES_INSIDE,
    options_for_action,
    options_for_host,
    options_for_supervisor,
    options_for_temporary,
    remount_read_only,
)
from reapi_local.execute.sandbox.supervised.scratch_filesystem import Disk, Tmpfs
from reapi_local.execute.sandbox.supervised.supervised_sandbox import SupervisedSandbox
from reapi_local.execute.sandbox.supervised.supervisor_messages import SupervisedProcess
from reapi_local.execute.sandbox.supervised.supervisor_process import rlimits, supervisor_command
from reapi_local.threads import in_thread

_NAMESPACES: Final = ("--unshare-pid", "--unshare-ipc", "--unshare-uts", "--unshare-cgroup-try")
# The supervisor changes to the actions' user, and kills processes of that user.
_SUPERVISOR_CAPABILITIES: Final = ("CAP_SETUID", "CAP_SETGID", "CAP_KILL")
# The step of a `StepError` for a part of a message of bwrap.
_STEPS_BY_MESSAGE: Final = {
    "mount proc": "proc",
    "namespace": "user namespace",
    "uid map": "user namespace",
    "loopback": "user namespace",
}


class BubblewrapSandbox(SupervisedSandbox):
    """Runs each action in its own bwrap, on a copy of its input root.

    For root's server there is no user namespace, so a system that forbids them doesn't matter, and
    actions have the same uid inside as on the host.
    """

    def __init__(self, config: SandboxConfig) -> None:
        limits, work_dir = config.limits, config.work_dir
        self._is_root = os.getuid() == 0
        identity = identity_of_actions(config.action_uid)
        self._identity = replace(identity, inner_uid=identity.uid, inner_gid=identity.gid)
        self._closed_ports = ClosedPorts(config.closed_ports)
        self._views = HostViews(self._identity, config.all_hidden, config.places)
        self._files = os.path.join(work_dir, "files")
        self._program = ""
        self._account_options: list[str] = []
        # The kernel counts processes by uid, and all actions of root's server share one.
        processes = limits.processes * (config.count if self._is_root else 1)
        self._rlimits = rlimits(limits, processes)
        self._owner = identity.uid if self._is_root else None
        scratch_filesystem = Tmpfs(limits) if self._is_root else Disk()
        super().__init__(
            limits,
            ActionDirs(
                os.path.join(work_dir, "actions"), config.count, self._owner, scratch_filesystem
            ),
        )

    @property
    def notes(self) -> tuple[str, ...]:
        """See :class:`~reapi_local.execute.sandbox.interface.Sandbox`."""
        notes = [*self._closed_ports.notes]
        if self._limits.memory_bytes:
            notes.append("bubblewrap can't limit memory, so action_memory has no effect")
        if self._limits.cpu_seconds:
            notes.append("under bubblewrap, action_cpu_seconds limits each process by itself")
        if not self._is_root:
            notes.append(
                "bubblewrap can't limit what actions of an ordinary user's server write, so "
                "scratch_size and scratch_inodes have no effect"
            )
        return tuple(notes)

    async def start(self) -> None:
        """Run a first action.

        Raises:
            SandboxError: it doesn't work on this machine; the message has the cause and the cure.
        """
        if sys.platform != "linux":
            raise SandboxError("bubblewrap exists for Linux only")
        await in_thread(self._write_files)
        self._program = shutil.which("bwrap") or ""
        if not self._program:
            raise SandboxError("bubblewrap isn't installed; try `apt install bubblewrap`")
        try:
            await super().start()
        except SandboxError as error:
            raise _explain(error) from error
        await self._closed_ports.prepare()

    async def close(self) -> None:
        await super().close()
        self._closed_ports.close()
        await in_thread(shutil.rmtree, self._files, ignore_errors=True)

    async def _supervised(
        self, spec: ProcessSpec, action_dir: ActionDir
    ) -> tuple[list[str], SupervisedProcess]:
        view = await self._views.current()
        command = [
            *(self._program, "--as-pid-1", "--die-with-parent"),
            *_NAMESPACES,
            *(() if spec.network else ("--unshare-net",)),
            *self._privilege_options(),
            *options_for_host(view, os.path.join(self._files, "empty")),
            *self._account_options,
            *options_for_action(action_dir, spec.caches),
            *options_for_temporary(view, os.path.join(self._files, "empty")),
            *options_for_supervisor(view),
            *remount_read_only(view),
            "--",
            *supervisor_command(PACKAGES_INSIDE),
        ]
        return command, {
            "arguments": list(spec.arguments),
            "environment": dict(spec.environment),
            "working_directory": os.path.join(INPUT_ROOT, spec.working_directory),
            "directories": [os.path.join(INPUT_ROOT, path) for path in spec.directories],
            "limits": self._rlimits,
            "uid": self._owner,
            "restricted": True,
            "rulesets": list(self._closed_ports.rulesets) if spec.network else [],
            "terminals": [] if spec.terminal is None else [spec.terminal],
        }

    def _remark_on(self, spec: ProcessSpec, exit_code: int) -> str:
        return self._views.remark_on(spec, exit_code)

    def _privilege_options(self) -> list[str]:
        if not self._is_root:
            return ["--unshare-user-try", "--cap-drop", "ALL"]
        kept = [option for name in _SUPERVISOR_CAPABILITIES for option in ("--cap-add", name)]
        return ["--cap-drop", "ALL", *kept]

    def _write_files(self) -> None:
        """Write files to mount over the host's. Actions can read them, whatever the umask is."""
        shutil.rmtree(self._files, ignore_errors=True)
        os.makedirs(self._files, mode=0o700)
        accounts = account_files(self._identity)
        self._account_options = []
        for path, text in {"/empty": "", **accounts}.items():
            own = os.path.join(self._files, os.path.basename(path))
            with open(own, "w", encoding="utf-8", errors="surrogateescape") as file:
                file.write(text)
            os.chmod(own, 0o644)
            if path in accounts and os.path.isfile(path):
                self._account_options += ["--ro-bind", own, path]


def _explain(error: SandboxError) -> SandboxError:
    """Add the cure if bwrap failed at a step at which slots can fail, too."""
    message = str(error)
    steps = [step for part, step in _STEPS_BY_MESSAGE.items() if part in message]
    if not steps:
        return error
    number = errno.ENOSPC if "ENOSPC" in message else errno.EPERM
    return SandboxError(explain(StepError(steps[0], number, message)))
