"""The sandbox that is none: a process of the server's user, on the host as it is."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from typing import Final

from reapi_local.execute.sandbox.interface import (
    CACHES,
    HOME,
    INPUT_ROOT,
    ProcessSpec,
    SandboxConfig,
)
from reapi_local.execute.sandbox.supervised.action_dirs import ActionDir, ActionDirs
from reapi_local.execute.sandbox.supervised.supervised_sandbox import SupervisedSandbox
from reapi_local.execute.sandbox.supervised.supervision import (
    PACKAGES,
    Process,
    rlimits,
    supervisor_command,
)

_OF_THE_CONTRACT: Final = re.compile(
    "|".join(map(re.escape, (INPUT_ROOT, HOME, CACHES))).join(("(?:", r")(?![\w.-])"))
)


class ProcessGroupSandbox(SupervisedSandbox):
    """Runs actions that are trusted, where nothing better works. It contains nothing.

    An action sees and may change whatever the server's user may, and has the host's network, /tmp
    and processes. Its input root, a copy, is in a directory of its own below ``work_dir``.
    Nothing is mounted: where the paths of the contract occur in arguments and variables, those on
    the host take their place, but not where they occur in files.

    What an action leaves running is killed: on Linux all but what has become another user's,
    unless the action kills its supervisor; elsewhere only what is still in its process group.
    """

    notes: Final = (
        "the process group contains nothing: actions may do whatever the server's user may",
        "of the limits only action_file_size and, process by process, action_cpu_seconds hold",
    )

    def __init__(self, config: SandboxConfig) -> None:
        dirs = ActionDirs(os.path.join(config.work_dir, "actions"), config.count)
        super().__init__(config.limits, dirs)

    async def _start_with(self, spec: ProcessSpec, place: ActionDir) -> tuple[list[str], Process]:
        replaced = _replacement(spec, place)
        root = place.directory("root")
        return supervisor_command(PACKAGES), {
            "arguments": [replaced(argument) for argument in spec.arguments],
            "environment": {name: replaced(value) for name, value in spec.environment.items()},
            "working_directory": os.path.join(root, spec.working_directory),
            "directories": [os.path.join(root, path) for path in spec.directories],
            "limits": rlimits(self._limits),
            "user": None,
            "contained": False,
        }


def _replacement(spec: ProcessSpec, place: ActionDir) -> Callable[[str], str]:
    paths = {INPUT_ROOT: place.directory("root"), HOME: place.directory("home")}
    if spec.caches is not None:
        paths[CACHES] = spec.caches
    return lambda text: _OF_THE_CONTRACT.sub(lambda match: paths.get(match[0], match[0]), text)
