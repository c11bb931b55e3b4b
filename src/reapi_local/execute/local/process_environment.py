"""Makes the process to run from a job, at the job's turn, when its sandbox is known."""

from __future__ import annotations

import hashlib
import os
from typing import Final

from reapi_local.execute.job import Job
from reapi_local.execute.local.policy import Policy
from reapi_local.execute.sandbox.action_paths import HOME
from reapi_local.execute.sandbox.interface import ProcessSpec

_DEFAULT_ENVIRONMENT: Final = {
    "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    "HOME": HOME,
}


class ProcessEnvironment:
    """Gives jobs their variables, network and named caches.

    ``caches_dir`` has a directory of named caches for each instance. It is created at first use,
    and belongs to ``owner`` (user and group id; None = to this process).
    """

    def __init__(self, policy: Policy, caches_dir: str, owner: int | None) -> None:
        self._policy, self._caches_dir, self._owner = policy, caches_dir, owner

    def bind(self, job: Job, input_root: str, layers: tuple[str, ...]) -> ProcessSpec:
        """The process of a job, whose input root consists of ``layers``.

        ``input_root`` is its path inside the sandbox.
        """
        command = job.profile.with_input_root(job.command, input_root)
        uses_caches = job.profile.expects_host_access
        return ProcessSpec(
            arguments=command.arguments,
            environment={**_DEFAULT_ENVIRONMENT, **command.environment},
            working_directory=command.working_directory,
            layers=layers,
            directories=job.directories,
            network=self._policy.has_network(command, job.profile),
            caches=self._caches(job.context.instance) if uses_caches else None,
        )

    def _caches(self, instance: str) -> str:
        name = hashlib.sha256(instance.encode()).hexdigest()[:16]
        path = os.path.join(self._caches_dir, name)
        os.makedirs(path, mode=0o700, exist_ok=True)
        if self._owner is not None:
            os.chown(path, self._owner, self._owner)
        return path
