"""A plain process group on the host, which isolates nothing."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from typing import Final

from reapi_local.execute.sandbox.action_paths import CACHES, HOME, INPUT_ROOT
from reapi_local.execute.sandbox.interface import ProcessSpec, SandboxConfig
from reapi_local.execute.sandbox.supervised.action_dirs import ActionDir, ActionDirs
from reapi_local.execute.sandbox.supervised.supervised_sandbox import SupervisedSandbox
from reapi_local.execute.sandbox.supervised.supervisor_messages import SupervisedProcess
from reapi_local.execute.sandbox.supervised.supervisor_process import (
    PACKAGES,
    rlimits,
    supervisor_command,
)

_CONTRACT_PATHS: Final = re.compile(
    "|".join(map(re.escape, (INPUT_ROOT, HOME, CACHES))).join(("(?:", r")(?![\w.-])"))
)


class ProcessGroupSandbox(SupervisedSandbox):
    """Runs trusted actions on machines where no other sandbox works. It isolates nothing.

    An action sees and can change everything the server's user can. It has the host's network, /tmp
    and processes. Its input root is a copy in its own directory below ``work_dir``. Nothing is
    mounted: in arguments and variables, the paths of the contract are replaced with paths on the
    host; in files they are not.

    What an action leaves running is killed. On Linux that doesn't cover processes that changed to
    another user, and an action can kill its supervisor. On other systems it covers only what is
    still in the action's process group.
    """

    notes: Final = (
        "the process group isolates nothing: actions can do everything the server's user can",
        "only the limits action_file_size and action_cpu_seconds hold, each for single processes",
    )

    def __init__(self, config: SandboxConfig) -> None:
        action_dirs = ActionDirs(os.path.join(config.work_dir, "actions"), config.count)
        super().__init__(config.limits, action_dirs)

    async def _supervised(
        self, spec: ProcessSpec, action_dir: ActionDir
    ) -> tuple[list[str], SupervisedProcess]:
        replace = _path_replacement(spec, action_dir)
        root = action_dir.directory("root")
        return supervisor_command(PACKAGES), {
            "arguments": [replace(argument) for argument in spec.arguments],
            "environment": {name: replace(value) for name, value in spec.environment.items()},
            "working_directory": os.path.join(root, spec.working_directory),
            "directories": [os.path.join(root, path) for path in spec.directories],
            "limits": rlimits(self._limits),
            "uid": None,
            "restricted": False,
            "rulesets": [],
            "terminals": [] if spec.terminal is None else [spec.terminal],
        }


def _path_replacement(spec: ProcessSpec, action_dir: ActionDir) -> Callable[[str], str]:
    paths = {INPUT_ROOT: action_dir.directory("root"), HOME: action_dir.directory("home")}
    if spec.caches is not None:
        paths[CACHES] = spec.caches
    return lambda text: _CONTRACT_PATHS.sub(lambda match: paths.get(match[0], match[0]), text)
